"""Fields that rules give: a change of them alone embeds nothing, and searches find documents by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from tests.integration.conftest import Ingest

from roost.tasks.errors import UsageError
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.open_index import OpenIndex, open_index
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.source import Source

Stored = Callable[[], tuple[pl.DataFrame, np.ndarray, pl.DataFrame]]


def write_documents(folder: Path, count: int) -> Path:
    """Short documents, in folders of a team and a year; every fiftieth has the same text, for the model's sake."""
    for number in range(count):
        file = folder / f"team{number % 4}" / f"{2020 + number % 5}" / f"{number:04}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"---\nowner: Ilse\nkeeper: Ole\n---\nLamp {number % 50} burns all night.\n", encoding="utf-8")
    return folder


def source(folder: Path, **choices: Any) -> Source:
    return Source(uri=str(folder), name="docs", metadata=Metadata(**choices))


def found_by(opened: OpenIndex, where: str, filters: MetadataFilters, count: int) -> list[set[str]]:
    """URIs that a search, LlamaIndex and LangChain find with a filter."""
    [vector] = [opened.embedder.embed_queries_sync(["lamp"])[0].tolist()]
    hits = opened.search("lamp", k=count, options=SearchOptions(where=where))
    query = VectorStoreQuery(query_embedding=vector, similarity_top_k=count, filters=filters)
    nodes = opened.llamaindex(ef=count).query(query).nodes or []
    retrieved = opened.llamaindex_retriever(k=count, where=where).retrieve("lamp")
    documents = opened.langchain(ef=count).similarity_search("lamp", k=count, expr=opened.where(where))
    return [
        {hit.uri for hit in hits},
        {node.metadata["uri"] for node in nodes},
        {node.metadata["uri"] for node in retrieved},
        {document.metadata["uri"] for document in documents},
    ]


def test_a_changed_line_of_a_metadata_file_embeds_nothing_and_is_found_by_every_filter(
    lite: str, ingest: Ingest, stored: Stored, index: str, tmp_path: Path
) -> None:
    change_a_line(100, ingest, stored, index, tmp_path)


@pytest.mark.long
def test_a_changed_line_for_a_thousand_documents_embeds_nothing_and_is_found_by_every_filter(
    milvus: str, ingest: Ingest, stored: Stored, index: str, tmp_path: Path
) -> None:
    change_a_line(1_000, ingest, stored, index, tmp_path)


def change_a_line(count: int, ingest: Ingest, stored: Stored, index: str, tmp_path: Path) -> None:
    """Index documents, change a line of their metadata file, and search by the fields."""
    docs = write_documents(tmp_path / "docs", count)
    rules = tmp_path / "rules.jsonl"
    lines = [{"match": f"team{n}/**", "fields": {"teams": [f"t{n}"], "modified": f"202{n}-06-01"}} for n in range(4)]
    rules.write_text("\n".join(map(json.dumps, lines)))
    state, first = ingest(source(docs, file=str(rules), patterns=["{team}/{year}/**"]))
    assert (state, first.documents.added, first.documents.metadata) == ("Completed", count, 0)
    assert first.metadata.kinds == {"teams": "texts", "modified": "date", "team": "text", "year": "number"}
    before, vectors, _ = stored()

    lines[1]["fields"] = {"teams": ["t1", "ops"], "modified": "2026-02-01"}
    rules.write_text("\n".join(map(json.dumps, lines)))
    state, second = ingest(source(docs, file=str(rules), patterns=["{team}/{year}/**"]))
    counts = second.documents
    assert (state, counts.metadata, counts.changed, counts.unchanged) == ("Completed", count // 4, 0, count * 3 // 4)
    assert (second.chunks.embedded, second.chunks.reused, second.chunks.written) == (0, 0, count // 4)
    after, same, _ = stored()
    assert same.tobytes() == vectors.tobytes()
    fields = ["_given", "_node_content", "modified", "teams"]
    assert after.drop(fields).equals(before.drop(fields))
    assert ingest(source(docs, file=str(rules), patterns=["{team}/{year}/**"]))[1].chunks.written == 0

    wanted = {uri for uri in before["uri"] if uri.startswith("team1/")}
    newer = {uri for uri in wanted if int(uri.split("/")[1]) >= 2023}
    of_ops = MetadataFilter(key="teams", value="ops", operator=FilterOperator.CONTAINS)
    since = MetadataFilter(key="modified", value="2026-01-01", operator=FilterOperator.GTE)
    years = MetadataFilter(key="year", value=2023, operator=FilterOperator.GTE)
    with open_index(index) as opened:
        assert found_by(opened, '"ops" in teams', MetadataFilters(filters=[of_ops]), count) == [wanted] * 4
        where = 'modified >= 2026-01-01 and year >= 2023 and team == "team1"'
        assert found_by(opened, where, MetadataFilters(filters=[since, years]), count) == [newer] * 4
        with pytest.raises(UsageError, match=r"no chunk of index .* has a field 'tems'; did you mean 'teams'"):
            opened.where('"ops" in tems')


@pytest.mark.usually("standalone")
def test_a_negated_filter_finds_only_documents_that_have_the_field(
    milvus: str, ingest: Ingest, index: str, folder: Callable[..., Path]
) -> None:
    lamp = "Lamp burns all night."
    ingest(
        folder(
            **{
                "a.md": f"---\nowner: Ilse\nsize: 1\nlit: true\n---\n{lamp}\n",
                "b.md": f"---\nowner: Ole\nsize: 2\nlit: false\n---\n{lamp}\n",
                "without.md": lamp,
            }
        )
    )
    negated = (
        'owner != "Ilse"',
        'not (owner == "Ilse" or size == 1)',
        'owner not in ["Ilse"]',
        'not owner like "Il%"',
        "not size < 2",
        "size not in [1, 3]",
        "lit != true",
    )
    with open_index(index) as opened:
        for where in negated:
            hits = opened.search("lamp", options=SearchOptions(where=where))
            assert {hit.uri for hit in hits} == {"b.md"}, where


@pytest.fixture
def no_embedding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fail from now on if a chunk is embedded."""

    async def refuse(self: Embedder, *_: Any) -> Any:
        raise AssertionError("a chunk was embedded")

    return lambda: monkeypatch.setattr(Embedder, "embed_chunks", refuse)


def test_what_a_run_does_not_say_stays_and_what_is_forgotten_gives_the_documents_own_fields_back(
    lite: str, ingest: Ingest, stored: Stored, tmp_path: Path, no_embedding: Callable[[], None]
) -> None:
    docs = write_documents(tmp_path / "docs", 8)
    ingest(source(docs))
    plain, vectors, ledger = stored()
    assert "_given" not in plain.columns
    assert set(ledger["fields_hash"]) == {""}
    no_embedding()
    _, given = ingest(source(docs, values=["owner=Ada", "level=3"]))
    assert (given.documents.metadata, given.chunks.written) == (8, 8)
    rows, same, _ = stored()
    assert (set(rows["owner"]), set(rows["level"]), set(rows["keeper"])) == ({"Ada"}, {3}, {"Ole"})
    assert same.tobytes() == vectors.tobytes()
    assert json.loads(rows["_node_content"][0])["metadata"]["owner"] == "Ada"

    _, followed = ingest(source(docs))
    assert (followed.documents.unchanged, followed.metadata.kinds) == (8, {"owner": "text", "level": "number"})
    (docs / "team0" / "2020" / "0000.md").write_text("---\nowner: Ilse\n---\nLamp 0 burns all night.\n")
    _, changed = ingest(source(docs))
    assert (changed.documents.changed, changed.documents.unchanged) == (1, 7)
    assert set(stored()[0]["owner"]) == {"Ada"}, "a changed document gets the fields of the rules in force too"
    with pytest.raises(UsageError, match="field 'level' has numbers in this index, not 'low', which --set gives to"):
        ingest(source(docs, values=["level=low"]))

    (docs / "team0" / "2020" / "0000.md").write_text("---\nowner: Ilse\nkeeper: Ole\n---\nLamp 0 burns all night.\n")
    _, last = ingest(source(docs, forget=True))
    assert (last.documents.metadata, last.documents.changed) == (7, 1)
    rows, same, _ = stored()
    assert rows.equals(plain)
    assert same.tobytes() == vectors.tobytes()


@pytest.mark.long
def test_a_rebuild_and_an_import_follow_the_rules_and_a_rebuild_changes_a_kind(
    lite: str, ingest: Ingest, stored: Stored, index: str, tmp_path: Path
) -> None:
    from roost.flows.operations.archive import export_index, import_folder
    from roost.flows.parameters import RebuildRequest
    from roost.flows.rebuild import rebuild
    from roost.flows.running.run import run_flow

    docs, rules = write_documents(tmp_path / "docs", 8), tmp_path / "rules.csv"
    rules.write_text("match,level\nteam1/**,3\n")
    ingest(source(docs, file=str(rules), patterns=["{team}/**"]))
    before, _, _ = stored()
    run_flow(rebuild, RebuildRequest(index=index, fresh=True, max_drop=1.0))
    after, _, _ = stored()
    fields = ["_given", "level", "team", "uri"]
    assert after.select(fields).sort("uri").equals(before.select(fields).sort("uri"))

    rules.write_text("match,level:text\nteam1/**,3\n")
    with pytest.raises(UsageError, match="field 'level' has numbers in this index, not texts"):
        ingest(source(docs))
    run_flow(rebuild, RebuildRequest(index=index, fresh=True, max_drop=1.0))
    assert set(stored()[0]["level"].drop_nulls()) == {"3"}
    state, again = ingest(source(docs))
    assert (state, again.documents.unchanged, again.metadata.kinds["level"]) == ("Completed", 8, "text")

    asyncio.run(export_index(index, "", tmp_path / "export"))
    asyncio.run(import_folder(tmp_path / "export", f"{index}_copy", promote=False))
    with open_index(f"{index}_copy") as opened:
        assert opened.version.field_facts.kinds == {"level": "text", "team": "text"}
        hits = opened.search("lamp", k=8, options=SearchOptions(where='level == "3"'))
        assert {hit.uri.split("/")[0] for hit in hits} == {"team1"}


@pytest.mark.long
def test_a_document_that_cannot_be_read_any_more_gets_its_fields_too(
    lite: str, ingest: Ingest, stored: Stored, tmp_path: Path
) -> None:
    docs = write_documents(tmp_path / "docs", 3)
    ingest(source(docs, values=["team=open"]))
    (docs / "team0" / "2020" / "0000.md").write_bytes(b"\x00\x01\x02" * 50)
    state, report = ingest(source(docs, values=["team=closed"]))
    assert (state, report.documents.metadata, report.documents.quarantined) == ("Partial", 2, 1)
    rows, _, _ = stored()
    assert (rows.height, set(rows["team"])) == (3, {"closed"}), "its earlier chunks stay, with the new fields"
    state, again = ingest(source(docs, values=["team=ajar"]))
    assert (state, again.documents.metadata) == ("Partial", 2)
    assert set(stored()[0]["team"]) == {"ajar"}


def test_a_documents_own_value_that_is_not_of_the_fields_kind_is_left_out_and_named(
    lite: str, ingest: Ingest, stored: Stored, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, own in {"a": "year: soon", "b": "year: '2024'", "c": "owner: Ilse"}.items():
        (docs / f"{name}.md").write_text(f"---\n{own}\n---\nLamp {name} burns all night.\n")
    for name, date in {"d": "2025-05-06", "e": "2025"}.items():
        (docs / f"{name}.html").write_text(f"<html><head><meta name='date' content='{date}'></head><p>Lamp {name}.</p>")
    rules = tmp_path / "rules.csv"
    rules.write_text("match,year:number,created:date\nc.md,2023,2026-01-31\n")
    state, report = ingest(source(docs, file=str(rules)))
    assert (state, report.documents.added) == ("Completed", 5)
    assert [vars(one) for one in report.metadata.unfit] == [
        {"field": "created", "documents": 1, "uri": "e.html", "value": "2025"},
        {"field": "year", "documents": 1, "uri": "a.md", "value": "soon"},
    ]
    rows = {row["uri"]: (row.get("year"), row.get("created")) for row in stored()[0].iter_rows(named=True)}
    assert rows == {
        "a.md": (None, None),
        "b.md": (2024, None),
        "c.md": (2023, "2026-01-31"),
        "d.html": (None, "2025-05-06"),
        "e.html": (None, None),
    }
    assert not ingest(source(docs, file=str(rules)))[1].metadata.unfit
