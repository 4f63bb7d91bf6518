"""Which version is promoted, gone back to, or dropped, when nobody names one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roost.tasks.errors import SourceError, UsageError
from roost.tasks.models.recipe import Recipe
from roost.tasks.sources.source import Source
from roost.tasks.versions.carry_over import share_vectors, sources_of
from roost.tasks.versions.ledger_format import ledger_names
from roost.tasks.versions.names import VERSION_NAME
from roost.tasks.versions.promotion import VersionStatus, find_version, newest_candidate, previous_version
from roost.tasks.versions.pruning import choose
from roost.tasks.versions.version import Version

RECIPE = Recipe("m", "r", 4, "c", 240, 24, "", "")


def standing(
    name: str, day: int, *, live: bool = False, aliases: tuple[str, ...] = (), **facts: object
) -> VersionStatus:
    version = Version("docs", f"docs__{name}", RECIPE, f"2026-11-{day:02d}T00:00:00.000+00:00", "COSINE")
    return VersionStatus(replace(version, **facts), live, (*aliases, *(["docs"] if live else [])))  # type: ignore[arg-type]


def at(day: int) -> str:
    return f"2026-11-{day:02d}T12:00:00.000+00:00"


def test_a_version_tells_its_index_by_its_name_and_a_ledger_is_none() -> None:
    assert VERSION_NAME.fullmatch("my_docs__0a1b2c3d_2")["index"] == "my_docs"
    assert not any(VERSION_NAME.fullmatch(name) for name in ledger_names("docs__0a1b2c3d"))


def test_rollback_goes_to_what_was_live_before_not_to_what_was_rolled_back_in_between() -> None:
    first = standing("aaaaaaaa", 1, promoted=at(1))
    bad = standing("bbbbbbbb", 2, promoted=at(2), previous="docs__aaaaaaaa")
    live = standing("cccccccc", 3, live=True, promoted=at(3), previous="docs__aaaaaaaa")
    assert previous_version([live, bad, first], "docs") is first


def test_rollback_says_why_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(UsageError, match="is its first one"):
        previous_version([standing("aaaaaaaa", 1, live=True)], "docs")
    with pytest.raises(UsageError, match="docs__aaaaaaaa was pruned"):
        previous_version([standing("bbbbbbbb", 2, live=True, previous="docs__aaaaaaaa")], "docs")
    with pytest.raises(UsageError, match="no index 'docs'"):
        previous_version([standing("bbbbbbbb", 2)], "docs")


def test_promotion_without_a_name_takes_the_latest_complete_one_that_missed_nothing() -> None:
    live = standing("aaaaaaaa", 1, live=True)
    good, worse = standing("bbbbbbbb", 2, built=at(2)), standing("cccccccc", 3, built=at(3), quality={"missed": ["x"]})
    half = standing("dddddddd", 4)
    assert newest_candidate([live, half, worse, good], "docs") is good
    with pytest.raises(UsageError, match="no newer version"):
        newest_candidate([live, half, worse], "docs")


def test_a_version_is_named_wholly_or_by_its_end() -> None:
    versions = [standing("aaaaaaaa", 1), standing("aaaaaaaa_2", 2)]
    assert find_version(versions, "aaaaaaaa") is find_version(versions, "docs__aaaaaaaa") is versions[0]
    with pytest.raises(UsageError, match=r"no version 'b' \(there: docs__aaaaaaaa, docs__aaaaaaaa_2\)"):
        find_version(versions, "b")


def test_pruning_keeps_the_live_one_first_then_the_one_before_it_then_the_newest() -> None:
    live = standing("aaaaaaaa", 1, live=True, previous="docs__bbbbbbbb")
    versions = [
        live,
        standing("dddddddd", 4, built=at(4)),
        standing("cccccccc", 3, promoted=at(3)),
        standing("bbbbbbbb", 2, promoted=at(2)),
    ]
    assert set(choose(versions, [], "docs", 1).keep) == {"docs__aaaaaaaa"}
    assert set(choose(versions, [], "docs", 2).keep) == {"docs__aaaaaaaa", "docs__bbbbbbbb"}
    assert set(choose(versions, [], "docs", 3).drop) == {"docs__cccccccc"}


def test_pruning_drops_what_killed_runs_left_and_nothing_that_a_name_leads_to() -> None:
    versions = [standing("aaaaaaaa", 1, live=True), standing("bbbbbbbb", 2), standing("cccccccc", 3, aliases=("mine",))]
    names = [
        "docs__aaaaaaaa",
        "docs__aaaaaaaa__ledger",
        "docs__eeeeeeee__ledger",
        "docs__eeeeeeee_2__ledger2",
        "other__eeeeeeee__ledger",
    ]
    chosen = choose(versions, names, "docs", 1)
    assert chosen.keep == {"docs__aaaaaaaa": "live", "docs__cccccccc": "alias mine"}
    assert set(chosen.drop) == {"docs__bbbbbbbb", "docs__eeeeeeee__ledger", "docs__eeeeeeee_2__ledger2"}


def test_pruning_drops_the_ledger_that_a_migration_replaced_and_no_other() -> None:
    names = ["docs__aaaaaaaa", "docs__aaaaaaaa__ledger", "docs__aaaaaaaa__ledger2"]
    migrated = [standing("aaaaaaaa", 1, live=True, ledger_format=2)]
    assert choose(migrated, names, "docs", 1).drop == {"docs__aaaaaaaa__ledger": "a ledger that a migration replaced"}
    assert choose([standing("aaaaaaaa", 1, live=True)], names, "docs", 1).drop == {}


def test_vectors_are_shared_where_the_model_and_its_instruction_are_equal() -> None:
    assert share_vectors(RECIPE, replace(RECIPE, chunk_size=100, query_instruction="q: ", schema_version=2))
    assert not any(
        share_vectors(RECIPE, replace(RECIPE, **{name: value}))  # type: ignore[arg-type]
        for name, value in {"model": "n", "revision": "s", "text_instruction": "p: "}.items()
    )


def test_a_source_is_kept_as_it_was_given_from_wherever_that_was(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(uri="docs/*.md", include=["a*"], name="handbook")
    assert Source.model_validate(source.given) == source.model_copy(update={"uri": f"{tmp_path}/docs/*.md"})
    assert Source(uri="https://host/docs.csv?format=csv").given is None
    version = standing("aaaaaaaa", 1, places={"docs.csv": "https://host/docs.csv"}).version
    with pytest.raises(SourceError, match=r"does not know how its source docs\.csv was given"):
        sources_of(version)
