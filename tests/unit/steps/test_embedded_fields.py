"""Fields that are embedded with chunks: as what text, within which size, and how a change of them shows."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError
from tests.stand_ins import made_model

from roost.tasks.errors import ConfigurationError
from roost.tasks.models.embedded_texts import embedding_texts
from roost.tasks.models.model import load_tokenizer
from roost.tasks.models.recipe import make_recipe
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Chunking
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.embedded_fields import check_fields, field_texts, fields_digest, with_embedded_of
from roost.tasks.steps.sections import make_context
from roost.tasks.versions.carry_over import share_vectors

MODEL = made_model()
FILE = str(MODEL.tokenizer_file)
TOKENIZER = load_tokenizer(MODEL.tokenizer_file)


def text_of(chunking: Chunking, given: dict[str, Any] | None = None, **own: Any) -> str:
    rows = {"title": ["Handbook"], "metadata": [json.dumps(own)], "fields": [json.dumps(given) if given else ""]}
    return str(field_texts(pl.DataFrame(rows), chunking)[0])


def test_names_and_values_are_written_in_the_order_of_the_setting() -> None:
    chunking = Chunking(fields=" year, team,title,open ,tags, none")
    own = {"team": "crew", "year": 2026, "open": True, "tags": ["a", "b"], "other": "x"}
    assert text_of(chunking, **own) == "year: 2026; team: crew; title: Handbook; open: true; tags: a, b"


def test_a_field_that_a_rule_gives_takes_the_place_of_the_documents_own() -> None:
    chunking = Chunking(fields="team,meta_uri")
    assert text_of(chunking, {"team": "ops"}, team="crew", uri="x") == "team: ops; meta_uri: x"


def test_the_title_is_not_repeated_beside_headings_and_nothing_is_written_unless_asked() -> None:
    assert text_of(Chunking(fields="title,team", context="headings"), team="crew") == "team: crew"
    assert text_of(Chunking(), team="crew") == ""
    assert text_of(Chunking(method="none", fields="team"), team="crew") == ""


def test_fields_stand_before_the_text_after_the_headings_and_the_stored_text_stays() -> None:
    row = {
        "doc_id": "d",
        "text": "# Use\n\nA plain sentence.",
        "page": 1,
        "start": 0,
        "kind": "markdown",
        "heading": "",
    }
    blocks = pl.DataFrame([row], schema=TEXT_BLOCK)
    with_headings = CutSizes(60, 8, FILE, has_context=True)
    both = cut_blocks(blocks, with_headings, {"d": "Handbook"}, {"d": "team: ops"})
    assert both["context"].to_list() == ["Handbook > Use\nteam: ops"]
    alone = cut_blocks(blocks, CutSizes(60, 8, FILE), {"d": "Handbook"}, {"d": "team: ops"})
    texts = embedding_texts(alone)
    assert texts["text"].to_list() == ["team: ops\n\n# Use\n\nA plain sentence."]
    assert texts["tokens"].to_list() == [len(TOKENIZER.encode(texts["text"][0], add_special_tokens=False).ids)]
    assert alone["text"].to_list() == both["text"].to_list() == ["# Use\n\nA plain sentence."]


@pytest.mark.parametrize("has_context", [True, False])
def test_long_values_lose_their_end_and_leave_two_thirds_to_the_text(has_context: bool) -> None:
    sizes = CutSizes(60, 8, FILE, has_context=has_context)
    context = make_context("Handbook", "page " * 60, sizes, "team: " + "words " * 60)
    assert "team: words" in context
    assert ("Handbook" in context) == has_context
    assert len(TOKENIZER.encode(context, add_special_tokens=False).ids) <= 20
    row = {"doc_id": "d", "text": "Many words. " * 90, "page": 1, "start": 0, "kind": "text", "heading": ""}
    chunks = cut_blocks(pl.DataFrame([row], schema=TEXT_BLOCK), sizes, {}, {"d": "team: " + "words " * 60})
    assert 40 < max(chunks["tokens"]) <= 60


def test_the_digest_tells_embedded_fields_from_others() -> None:
    one, other = '{"level": 1, "team": "ops"}', '{"level": 2, "team": "ops"}'
    of_one, of_other = (fields_digest(text, ["team", "none"]) for text in (one, other))
    assert of_one != of_other
    assert of_one.partition(":")[2] == of_other.partition(":")[2] != ""
    assert fields_digest(one, []) == of_one.partition(":")[0]
    assert fields_digest(one, ["none"]) == of_one.partition(":")[0]
    assert fields_digest("", ["team"]) == ""
    assert with_embedded_of("unknown", of_one) == "unknown:" + of_one.partition(":")[2]
    assert with_embedded_of(of_other, "unknown") == of_other.partition(":")[0]


def test_a_recipe_with_fields_is_another_one_and_without_them_the_one_that_it_was() -> None:
    plain, named = make_recipe(MODEL, Chunking()), make_recipe(MODEL, Chunking(fields="title, team"))
    assert (named.fields, named.has_context, plain.has_context) == ("title,team", True, False)
    assert plain.fingerprint != named.fingerprint
    assert not share_vectors(plain, named)
    assert make_recipe(MODEL, Chunking(method="none", fields="team")).fields == ""


def test_names_that_no_field_can_have_are_refused() -> None:
    check_fields(Chunking(fields="title,team,meta_page"))
    for name in ("uri", "my field", "2026"):
        with pytest.raises(ConfigurationError, match=f"ROOST_CHUNKING__FIELDS=.*'{name}' is no field"):
            check_fields(Chunking(fields=f"title,{name}"))
    for text in ("team,,year", "team,team"):
        with pytest.raises(ValidationError, match="write each field once"):
            Chunking(fields=text)
