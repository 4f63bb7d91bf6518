"""The context of chunks: what is embedded before their text, within their size and beside what is stored."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tests.checks import check_chunks
from tests.stand_ins import made_model

from roost.tasks.ids import chunk_hash
from roost.tasks.models.embedded_texts import embedding_key, embedding_texts
from roost.tasks.models.model import load_tokenizer
from roost.tasks.models.recipe import make_recipe
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Chunking
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.sections import make_context
from roost.tasks.versions.carry_over import share_vectors

MODEL = made_model()
FILE = str(MODEL.tokenizer_file)
TOKENIZER = load_tokenizer(MODEL.tokenizer_file)
TEXT = "# Guide\n\n## Install\n\nA plain sentence on the first page.\n\n## Use\n\n" + "Many words make a text. " * 30
SIZES = CutSizes(60, 8, FILE, has_context=True)


def cut(text: str = TEXT, sizes: CutSizes = SIZES, **block: Any) -> pl.DataFrame:
    row = {"doc_id": "d", "text": text, "page": 1, "start": 0, "kind": "markdown", "heading": "", **block}
    return cut_blocks(pl.DataFrame([row], schema=TEXT_BLOCK), sizes, {"d": "Handbook"})


def tokens(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)


def test_title_and_headings_are_embedded_before_the_text_and_the_text_is_stored_as_it_is() -> None:
    chunks = cut()
    check_chunks(TEXT, [{**row, "tokens": tokens(row["text"])} for row in chunks.to_dicts()], 60, TOKENIZER)
    assert chunks["context"].unique(maintain_order=True).to_list() == [
        "Handbook > Guide > Install",
        "Handbook > Guide > Use",
    ]
    assert [chunk_hash(text) for text in chunks["text"]] == chunks["chunk_hash"].to_list()
    first = embedding_texts(chunks).row(0, named=True)
    assert first["text"] == "Handbook > Guide > Install\n\n" + chunks["text"][0]
    assert "Handbook" not in "".join(chunks["text"])


def test_context_and_text_together_fit_the_size_and_their_tokens_are_counted() -> None:
    texts = embedding_texts(cut())
    assert [tokens(text) for text in texts["text"]] == texts["tokens"].to_list()
    assert 40 < max(texts["tokens"]) <= 60


@pytest.mark.parametrize("word", ["heading", "x" * 40, "漢字"])
def test_a_context_that_is_too_long_loses_its_end_and_leaves_two_thirds_to_the_text(word: str) -> None:
    context = make_context("Handbook", " > ".join([word] * 60), SIZES)
    assert tokens(context) <= 20
    assert not context.endswith(">")
    chunks = cut(f"# {word * 30}\n\nMany words make a text. " + "Many words make a text. " * 20)
    assert max(chunks["tokens"]) <= 60


@pytest.mark.parametrize(
    ("title", "heading", "context"),
    [
        ("", "", ""),
        ("Guide", "", "Guide"),
        ("", "Guide > Use", "Guide > Use"),
        ("Guide", "Guide > Use", "Guide > Use"),
        ("Guide", "Guides > Use", "Guide > Guides > Use"),
    ],
)
def test_a_title_that_the_headings_begin_with_is_not_repeated(title: str, heading: str, context: str) -> None:
    assert make_context(title, heading, SIZES) == context
    assert make_context(title, heading, CutSizes(60, 8, FILE)) == ""


def test_a_table_has_the_context_of_its_section() -> None:
    rows = "| name | use |\n|---|---|\n" + "| word | page |\n" * 20
    chunks = cut(rows, kind="table", heading="Guide > Words")
    assert set(chunks["context"]) == {"Handbook > Guide > Words"}
    assert max(chunks["tokens"]) <= 60


def test_equal_texts_under_different_headings_are_embedded_each() -> None:
    chunks = pl.DataFrame(
        {"text": ["a", "a", "a"], "chunk_hash": ["1", "1", "1"], "context": ["", "x", "x"], "tokens": [1, 2, 2]}
    )
    texts = embedding_texts(chunks)
    assert texts["text"].to_list() == ["a", "x\n\na"]
    assert texts["key"].to_list() == ["1", embedding_key("1", "x")]


def test_a_recipe_with_context_is_another_one_and_shares_no_vectors() -> None:
    plain, contextual = (make_recipe(MODEL, Chunking(context=context)) for context in ("", "headings"))
    assert plain.fingerprint != contextual.fingerprint
    assert not share_vectors(plain, contextual)
    assert make_recipe(MODEL, Chunking(method="none", context="headings")).context == ""
