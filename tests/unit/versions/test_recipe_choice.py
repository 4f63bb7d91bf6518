"""What a run does not state explicitly is as in the live version; what it states otherwise is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roost.flows.parameters import RebuildRequest
from roost.flows.running.choices import with_recipe_choices
from roost.tasks.errors import ConfigurationError, RecipeError
from roost.tasks.models.endpoint import Endpoint, encode_canary
from roost.tasks.models.recipe import CHUNKER, OPENAI_API, UNCUT, Recipe
from roost.tasks.settings import load_settings
from roost.tasks.versions.carry_over import can_reuse
from roost.tasks.versions.recipe_choice import follow, refuse_changes
from roost.tasks.versions.vector_index import VectorIndex
from roost.tasks.versions.version import Version, decode_version, encode_version

COMMIT = "0123456789" * 4
RECIPE = Recipe("some/model", COMMIT, 4, CHUNKER, 128, 12, "query: ", "passage: ", sparse="bm25", context="headings")
LIVE = Version("docs", "docs__0a1b2c3d", RECIPE, "2026-11-21", "IP", VectorIndex("HNSW", 32, 100))


def test_what_no_setting_says_is_as_in_the_live_version() -> None:
    settings = load_settings()
    refuse_changes(settings, LIVE)
    found = follow(settings, LIVE)
    assert found.embedding.model == "some/model"
    assert found.embedding.revision == COMMIT  # so a new commit on the hub changes nothing
    assert (found.embedding.query_instruction, found.embedding.text_instruction) == ("query: ", "passage: ")
    assert found.embedding.sparse == "bm25"
    assert (found.chunking.method, found.chunking.size, found.chunking.overlap) == ("sentences", 128, 12)
    assert found.chunking.context == "headings"
    assert (found.milvus.metric, found.milvus.hnsw_m, found.milvus.hnsw_ef_construction) == ("IP", 32, 100)
    assert found.ingest == settings.ingest
    assert found.milvus.uri == settings.milvus.uri


def test_what_is_followed_does_not_count_as_explicit_afterwards() -> None:
    other = replace(LIVE, recipe=replace(RECIPE, chunk_size=64, chunk_overlap=4))
    found = follow(load_settings(), LIVE)
    refuse_changes(found, other)
    assert follow(found, other).chunking.size == 64


def test_documents_that_are_not_cut_and_a_model_in_a_folder_are_followed_too(tmp_path) -> None:
    recipe = replace(RECIPE, model=str(tmp_path), revision="0a1b", chunker=UNCUT, chunk_size=0, chunk_overlap=0)
    found = follow(load_settings(), replace(LIVE, recipe=recipe))
    assert (found.embedding.model, found.embedding.revision) == (str(tmp_path), "")
    assert (found.chunking.method, found.chunking.size) == ("none", 240)


def test_an_explicit_and_different_setting_is_refused_with_both_ways_to_go_on(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "100")
    with pytest.raises(RecipeError) as refused:
        refuse_changes(load_settings(), LIVE)
    assert str(refused.value) == (
        "Index 'docs' uses chunk size 128, your setting is 100. Set ROOST_CHUNKING__SIZE=128, or run "
        '"roost rebuild --index docs" to re-index with 100.'
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EMBEDDING__MODEL", "other/model", "uses model some/model, your setting is other/model. Set ROOST_EMBEDDING"),
        ("EMBEDDING__SPARSE", "", "uses sparse index bm25, your setting is none. Set ROOST_EMBEDDING__SPARSE=bm25, or"),
        ("EMBEDDING__TEXT_INSTRUCTION", "", "uses text instruction passage: , your setting is none."),
        ("CHUNKING__METHOD", "none", "uses chunking method sentences, your setting is none."),
        ("MILVUS__METRIC", "L2", "uses metric IP, your setting is L2. Set ROOST_MILVUS__METRIC=IP, or"),
        ("MILVUS__INDEX_TYPE", "FLAT", "uses index type HNSW, your setting is FLAT."),
        ("MILVUS__HNSW_M", "16", "uses HNSW M 32, your setting is 16."),
    ],
)
def test_each_choice_that_makes_another_index_is_refused(monkeypatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"ROOST_{name}", value)
    with pytest.raises(RecipeError) as refused:
        refuse_changes(load_settings(), LIVE)
    assert says in str(refused.value)


def test_several_are_named_together(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING", '{"size": 100, "overlap": 10}')
    with pytest.raises(RecipeError, match="uses chunk size 128 and chunk overlap 12, your settings are 100 and 10"):
        refuse_changes(load_settings(), LIVE)


def test_an_explicit_setting_with_the_value_of_the_index_is_no_difference(monkeypatch) -> None:
    for name, value in {"CHUNKING__SIZE": "128", "MILVUS__METRIC": "IP", "EMBEDDING__MODEL": "some/model"}.items():
        monkeypatch.setenv(f"ROOST_{name}", value)
    refuse_changes(load_settings(), LIVE)
    assert follow(load_settings(), LIVE).embedding.revision == COMMIT


def test_a_rebuild_changes_what_it_names_and_follows_the_rest(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__OVERLAP", "8")
    found = follow(with_recipe_choices(load_settings(), RebuildRequest(chunk_size=100)), LIVE)
    assert (found.chunking.size, found.chunking.overlap, found.embedding.model) == (100, 8, "some/model")


def test_another_model_gets_neither_revision_nor_instructions_of_the_old_one(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_EMBEDDING__REVISION", COMMIT)
    found = follow(with_recipe_choices(load_settings(), RebuildRequest(model="other/model")), LIVE).embedding
    assert (found.model, found.revision, found.query_instruction) == ("other/model", "", None)


def test_a_chunk_size_below_the_overlap_that_the_index_has_is_one_line() -> None:
    live = replace(LIVE, recipe=replace(RECIPE, chunk_overlap=24))
    with pytest.raises(ConfigurationError, match=r"'docs': overlap 24 must be smaller than size 20; .*--chunk-overlap"):
        follow(with_recipe_choices(load_settings(), RebuildRequest(chunk_size=20)), live)


PLACE = Endpoint("http://a:1/v1", "", "some/tokenizer", 512, encode_canary(np.array([1.0, 0.0])))
SERVED = replace(LIVE, recipe=replace(RECIPE, api=OPENAI_API), endpoint=PLACE)


def test_the_endpoint_of_the_live_version_is_followed_and_may_move(monkeypatch) -> None:
    found = follow(load_settings(), SERVED).embedding
    assert (found.base_url, found.tokenizer, found.window) == ("http://a:1/v1", "some/tokenizer", 512)
    assert found.key_for("http://a:1/v1").get_secret_value() == ""
    monkeypatch.setenv("ROOST_EMBEDDING__BASE_URL", "http://b:2/v1/")
    monkeypatch.setenv("ROOST_EMBEDDING__API_KEY", "sk-1")
    settings = load_settings()
    refuse_changes(settings, SERVED)
    moved = follow(settings, SERVED).embedding
    assert (moved.base_url, moved.tokenizer) == ("http://b:2/v1", "some/tokenizer")
    assert moved.key_for("http://b:2/v1").get_secret_value() == "sk-1"
    assert moved.key_for("http://a:1/v1").get_secret_value() == ""


@pytest.mark.parametrize(("version", "url"), [(LIVE, "http://b:2/v1"), (SERVED, "")])
def test_an_index_does_not_change_between_an_endpoint_and_this_process(monkeypatch, version: Version, url: str) -> None:
    monkeypatch.setenv("ROOST_EMBEDDING__BASE_URL", url)
    with pytest.raises(RecipeError, match="uses endpoint .* your setting is"):  # noqa: RUF043
        refuse_changes(load_settings(), version)


def test_what_is_stored_of_an_endpoint_is_no_part_of_the_fingerprint() -> None:
    described = {"collection_name": SERVED.name, "properties": encode_version(SERVED)}
    found = decode_version("docs", described)
    assert found == SERVED
    assert found.recipe.fingerprint == replace(SERVED, endpoint=None).recipe.fingerprint != RECIPE.fingerprint
    moved = replace(PLACE, base_url="http://b:2/v1")
    other = replace(PLACE, canary=encode_canary(np.array([0.0, 1.0])))
    assert can_reuse(SERVED, replace(SERVED, endpoint=moved))
    assert not can_reuse(SERVED, replace(SERVED, endpoint=other))
