"""The flow on real documents, a real Prefect server, Milvus Lite and a real Milvus server."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import HANDBOOK_DOCUMENTS, ROOT
from tests.drop import drop_version

import roost.flows.running.batches
import roost.flows.running.prepare
from roost.cli.output.show_ingest import show_plan
from roost.flows.ingest import ingest as ingest_flow
from roost.flows.operations import status
from roost.flows.parameters import IngestRequest
from roost.flows.running.progress import Planned, Progress
from roost.flows.running.run import run_flow
from roost.tasks.crash_points import utc_now
from roost.tasks.errors import (
    CollectionNotFoundError,
    ModelError,
    RoostError,
    SourceError,
    StoreError,
    TransientError,
    UsageError,
)
from roost.tasks.milvus.store import open_store
from roost.tasks.models.model import find_model
from roost.tasks.settings import Embedding, load_settings
from roost.tasks.sources.connectors.items import hash_locations
from roost.tasks.sources.source import Source
from roost.tasks.steps import plan
from roost.tasks.steps.report import ChunkCounts, StoreCounts
from roost.tasks.versions.ledger import write_rows
from roost.tasks.versions.live_version import require_live_version

HANDBOOK = ROOT / "examples" / "handbook"
GOOD = "# Ferry\n\nThe ferry to the island leaves at noon.\n\n## Fares\n\nA child pays four crowns.\n"


@pytest.mark.usually("standalone")
def test_every_format_of_the_handbook_is_indexed_and_counted_by_milvus(milvus, ingest, stored):
    state, report = ingest(HANDBOOK)
    chunks, vectors, ledger = stored()
    assert state == "Completed"
    assert report.documents.added == report.documents.listed == ledger.height == HANDBOOK_DOCUMENTS
    assert report.store == StoreCounts(documents=HANDBOOK_DOCUMENTS, chunks=chunks.height)
    assert set(ledger["status"]) == {"indexed"}
    assert ledger["chunk_count"].sum() == chunks.height == report.chunks.written
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert report.tokens.truncated == 0


def test_pdf_chunks_know_their_page_and_markdown_chunks_their_headings(lite, ingest, stored):
    ingest(HANDBOOK / "safety", HANDBOOK / "instruments")
    chunks, _, _ = stored()
    pdf = chunks.filter(pl.col("uri").str.ends_with(".pdf"))
    markdown = chunks.filter(pl.col("uri").str.ends_with(".md"))
    assert set(pdf["page"]) == {1, 2, 3}
    assert markdown["heading"].str.contains(" > ").any()
    assert (markdown["page"] == 0).all()


@pytest.mark.usually("standalone")
def test_a_second_run_embeds_nothing_and_writes_nothing(milvus, ingest, folder, stored):
    source = folder(**{"ferry.md": GOOD, "notes/plain.txt": "The lighthouse keeper naps at three."})
    ingest(source)
    before, vectors, ledger = stored()
    _, report = ingest(source)
    after, same, again = stored()
    assert report.documents.unchanged == 2
    assert report.chunks == ChunkCounts()
    assert after.equals(before)
    assert np.array_equal(same, vectors)
    assert again.equals(ledger)  # updated_at and run_id too: not one row was touched


@pytest.mark.usually("lite")
def test_a_shrunken_document_leaves_no_rows_behind(milvus, ingest, folder, stored):
    source = folder(**{"long.txt": " ".join(f"Sentence number {n} speaks of herring." for n in range(400))})
    ingest(source)
    (source / "long.txt").write_text("Only this remains.")
    _, report = ingest(source)
    chunks, _, ledger = stored()
    assert chunks["text"].to_list() == ["Only this remains."]
    assert ledger["chunk_count"].to_list() == [1]
    assert report.chunks.deleted > 5


def test_a_changed_section_embeds_itself_only(lite, ingest, folder):
    source = folder(**{"ferry.md": GOOD})
    ingest(source)
    (source / "ferry.md").write_text(GOOD.replace("four crowns", "five crowns"))
    _, report = ingest(source)
    assert report.documents.changed == 1
    assert report.chunks.embedded == 1
    assert report.chunks.reused == 1


@pytest.mark.usually("lite")
def test_a_renamed_document_embeds_nothing_and_leaves_nothing_under_its_old_name(milvus, ingest, folder, stored):
    source = folder(**{"ferry.md": GOOD, "other.md": "# Other\n\nSomething else."})
    ingest(source)
    (source / "ferry.md").rename(source / "boat.md")
    _, report = ingest(source)
    chunks, _, ledger = stored()
    assert report.documents.renamed == 1
    assert report.documents.deleted == 0
    assert report.chunks.embedded == 0
    assert set(chunks["uri"]) == {"boat.md", "other.md"} == set(ledger["uri"])


@pytest.mark.usually("lite")
def test_a_deleted_document_leaves_the_index_and_other_sources_stay(milvus, ingest, folder, stored):
    one, two = folder("one", **{"a.md": GOOD, "b.md": "# B\n\nBees."}), folder("two", **{"c.md": "# C\n\nCats."})
    ingest(one, two)
    (one / "a.md").unlink()
    _, report = ingest(one)
    chunks, _, ledger = stored()
    assert report.documents.deleted == 1
    assert set(chunks["uri"]) == {"b.md", "c.md"} == set(ledger["uri"])


@pytest.mark.usually("lite")
def test_one_bad_document_is_named_and_reasoned_and_does_not_stop_the_others(milvus, ingest, folder, stored):
    source = folder(
        **{
            "good.md": GOOD,
            "broken.pdf": b"%PDF-1.7 but no more",
            "blank.txt": b" ",
            "noise.xyz": bytes(range(256)) * 9,
        }
    )
    state, report = ingest(source)
    assert state == "Partial"
    assert report.documents.quarantined == 3
    assert {r.uri: r.reason.split(":")[0] for r in report.rejects} == {
        "broken.pdf": "damaged",
        "blank.txt": "no_text",
        "noise.xyz": "unknown_format",
    }
    assert set(stored()[0]["uri"]) == {"good.md"}


def test_a_quarantined_document_is_left_alone_until_it_changes(lite, ingest, folder):
    source = folder(**{"good.md": GOOD, "noise.txt": bytes(range(256)) * 9})
    ingest(source)
    state, report = ingest(source)
    assert (state, report.documents.quarantined) == ("Partial", 1)
    (source / "noise.txt").write_text("No longer noise.")
    state, report = ingest(source)
    assert (state, report.documents.quarantined) == ("Completed", 0)


@pytest.mark.usually("lite")
def test_a_document_that_breaks_keeps_its_old_chunks_searchable(milvus, ingest, folder, stored):
    source = folder(**{"a.html": "<html><body><h1>Tides</h1><p>High water at dawn.</p></body></html>"})
    ingest(source)
    (source / "a.html").write_bytes(b"<html></html>")
    state, report = ingest(source)
    chunks, _, ledger = stored()
    assert state == "Partial"
    assert "High water at dawn." in chunks["text"][0]
    assert ledger.select("status", "chunk_count").rows() == [("quarantined", 1)]
    assert report.store.chunks == 1


def test_rows_of_a_table_are_documents_and_a_ragged_row_refuses_itself(lite, ingest, folder, stored):
    rows = 'id,title,text,topic\n1,Soup,"Leek\nsoup",food\n2,Bad,row,with,too many\n3,Tea,Mint tea,\n'
    source = folder(**{"faq.csv": rows})
    state, report = ingest(source / "faq.csv")
    chunks, _, _ = stored()
    assert state == "Partial"
    assert set(chunks["uri"]) == {"faq.csv#1", "faq.csv#3"}
    assert chunks.filter(pl.col("uri") == "faq.csv#1")["text"].to_list() == ["Soup\n\nLeek\nsoup"]
    assert chunks.filter(pl.col("uri") == "faq.csv#1")["topic"].to_list() == ["food"]
    assert [r.uri for r in report.rejects] == ["faq.csv#2"]


def test_a_dry_run_counts_and_makes_nothing(lite, ingest, folder, tmp_path):
    source = folder(**{"a.md": GOOD})
    before = set(tmp_path.iterdir())
    _, plan = ingest(source, dry_run=True)
    assert plan.documents.added == 1
    assert plan.estimate.chunks >= 1
    assert (plan.version, plan.would_refuse) == (None, None)
    assert set(tmp_path.iterdir()) == before
    ingest(source)
    _, plan = ingest(source, dry_run=True)
    assert (plan.documents.added, plan.documents.unchanged) == (0, 1)


def test_deleting_most_of_an_index_is_refused_before_anything_is_written(lite, ingest, folder, stored, capsys):
    source = folder(**{f"{n}.txt": f"Note number {n}." for n in range(20)})
    ingest(source)
    for n in range(15):
        (source / f"{n}.txt").unlink()
    with pytest.raises(UsageError, match=r"would lose 15 of 20 documents.*--max-delete-fraction 0.7") as refused:
        ingest(source)
    _, plan = ingest(source, dry_run=True)
    reason, first, *_ = str(refused.value).splitlines()
    assert (plan.documents.deleted, plan.would_refuse, first) == (15, reason, "  docs/0.txt")
    show_plan(plan)
    shown = capsys.readouterr().out
    assert f"a run would be refused: {reason}" in shown
    assert "would delete 15 documents of source 'docs'\n  docs/0.txt" in shown
    assert ingest(source, dry_run=True, max_delete_fraction=0.8)[1].would_refuse is None
    assert stored()[2].height == 20
    _, report = ingest(source, max_delete_fraction=0.8)
    assert report.documents.deleted == 15


def test_another_chunk_size_refuses_and_names_both(lite, ingest, folder, monkeypatch):
    source = folder(**{"a.md": GOOD})
    ingest(source)
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "120")
    with pytest.raises(StoreError, match="uses chunk size 240, your setting is 120"):
        ingest(source)


def test_another_model_dimension_or_query_prompt_is_refused_before_a_model_or_a_document_is_loaded(
    lite, ingest, folder, stored, monkeypatch
):
    source = folder(**{"a.md": GOOD})
    ingest(source)
    before, _, ledger = stored()
    model = find_model(Embedding())
    monkeypatch.setattr(roost.flows.running.batches, "Embedder", None)
    monkeypatch.setattr(roost.flows.running.batches, "Workers", None)
    for other, says in (
        (replace(model, name="other/model"), rf"model '{model.name}' there, 'other/model' here"),
        (replace(model, dimension=128), "dimension 384 there, 128 here"),
        (replace(model, query_instruction="query: "), "query_instruction '' there, 'query: ' here"),
    ):
        monkeypatch.setattr(roost.flows.running.prepare, "find_model", lambda _, found=other: found)
        for dry_run in (False, True):
            with pytest.raises(StoreError, match=says):
                ingest(source, dry_run=dry_run)
    assert stored()[0].equals(before)
    assert stored()[2].equals(ledger)


def test_chunks_longer_than_the_model_reads_are_refused(lite, ingest, folder, monkeypatch):
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "512")
    with pytest.raises(ModelError, match="largest size is 254"):
        ingest(folder(**{"a.md": GOOD}))


@pytest.mark.usually("standalone")
def test_a_collection_that_roost_did_not_make_is_refused_and_untouched(milvus, ingest, folder, index):
    from pymilvus import MilvusClient

    with closing(MilvusClient(milvus)) as client:
        client.create_collection(index, dimension=8)
        before = {name for name in client.list_collections() if name.startswith(index)}
    with pytest.raises(StoreError, match="Roost did not make"):
        ingest(folder(**{"a.md": GOOD}))
    with closing(MilvusClient(milvus)) as client:
        after = {name for name in client.list_collections() if name.startswith(index)}
        client.drop_collection(index)
    assert after == before


def test_a_missing_source_is_refused_and_nothing_is_written(lite, ingest, tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        ingest(tmp_path / "nowhere")
    assert not Path(lite).exists()


def test_a_column_that_is_not_there_is_refused_with_those_that_are(lite, ingest, folder):
    from roost.tasks.sources.source import Columns

    source = folder(**{"t.csv": "id,body\n1,Some text that is long enough\n"})
    with pytest.raises(SourceError, match=r"unknown column 'txt'; known: body, id"):
        ingest(Source(uri=str(source / "t.csv"), columns=Columns(text="txt")))


def test_milvus_that_does_not_answer_is_one_line(ingest, folder, monkeypatch):
    monkeypatch.setenv("ROOST_MILVUS__URI", "http://127.0.0.1:1")
    with pytest.raises(TransientError, match=r"http://127.0.0.1:1 does not answer.*ROOST_MILVUS__URI"):
        ingest(folder(**{"a.md": GOOD}))


def test_a_rename_to_what_cannot_be_parsed_keeps_the_old_chunks(lite, ingest, folder, stored):
    source = folder(**{"notes.txt": "The lamp is lit at dusk.", "other.txt": "Oars are kept dry."})
    ingest(source)
    (source / "notes.txt").rename(source / "notes.pdf")
    state, report = ingest(source)
    assert (state, report.documents.quarantined) == ("Partial", 1)
    before, _, ledger = stored()
    assert "The lamp is lit at dusk." in before["text"].to_list()
    state, report = ingest(source)
    assert (state, report.documents.quarantined, report.documents.deleted) == ("Partial", 1, 0)
    after, _, again = stored()
    assert after.equals(before)
    assert again.equals(ledger)
    (source / "notes.pdf").unlink()
    _, report = ingest(source)
    assert report.documents.deleted == 2
    assert set(stored()[2]["uri"]) == {"other.txt"}


def test_a_derived_name_that_turns_up_in_another_place_is_refused_until_it_is_said_which(lite, ingest, folder, stored):
    one, two = folder("one/docs", **{"a.md": GOOD}), folder("two/docs", **{"b.md": "# B\n\nBees."})
    ingest(one)
    with pytest.raises(SourceError, match=r"source 'docs' of this index is .*one/docs, not .*two/docs"):
        ingest(two)
    ingest(Source(uri=str(two), name="more"))
    assert set(stored()[2]["source"]) == {"docs", "more"}
    _, report = ingest(Source(uri=str(one.rename(one.parent / "moved")), name="docs"))
    assert report.documents.unchanged == 1


def test_a_file_with_a_new_time_and_the_same_content_is_hashed_once(lite, ingest, folder, stored, monkeypatch):
    source = folder(**{"a.md": GOOD, "b.txt": "Bees."})
    ingest(source)
    chunks, _, before = stored()
    os.utime(source / "a.md", (1, 1))
    hashed = []
    monkeypatch.setattr(plan, "hash_locations", lambda given: hashed.extend(given) or hash_locations(given))
    for _ in range(2):
        _, report = ingest(source)
        assert (report.documents.unchanged, report.documents.changed) == (2, 0)
    assert [Path(location).name for location in hashed] == ["a.md"]
    after = stored()[2]
    assert after["modified"][0].startswith("1.0")
    times = ["modified", "updated_at", "seen_at"]
    assert after.drop(times).equals(before.drop(times))
    assert stored()[0].equals(chunks)


def test_a_file_that_was_completed_after_its_listing_is_hashed_once_and_its_size_is_noted(
    lite, prefect_api, ingest, index, folder, stored, monkeypatch
):
    source = folder(**{"a.md": GOOD[:10]})

    def complete(event: Progress) -> None:
        if isinstance(event, Planned):
            (source / "a.md").write_text(GOOD)

    run_flow(ingest_flow, IngestRequest(sources=[Source(uri=str(source))], index=index), complete)
    assert stored()[2]["size"].to_list() == [10]
    hashed = []
    monkeypatch.setattr(plan, "hash_locations", lambda given: hashed.extend(given) or hash_locations(given))
    for _ in range(2):
        _, report = ingest(source)
        assert (report.documents.unchanged, report.documents.changed) == (1, 0)
    assert len(hashed) == 1
    assert stored()[2]["size"].to_list() == [len(GOOD)]


def test_the_ledger_names_what_each_document_was_read_as(lite, ingest, folder, stored):
    ingest(folder(**{"a.md": GOOD, "bad.pdf": b"%PDF-1.7 cut", "t.csv": "id,text\n1,A row that is long enough\n"}))
    rows = stored()[2]
    assert rows.select("uri", "format", "parser", "status").rows() == [
        ("a.md", "markdown", "roost-markdown 1", "indexed"),
        ("bad.pdf", "pdf", f"roost-pdf 2, pypdfium2 {version('pypdfium2')}", "quarantined"),
        ("t.csv#1", "csv row", "", "indexed"),
    ]
    assert rows["metadata_hash"].str.len_chars().to_list() == [32, 0, 32]
    assert all(utc_now() - datetime.fromisoformat(time) < timedelta(minutes=5) for time in rows["seen_at"])


def test_documents_that_another_parser_read_are_read_again_and_their_text_is_not_embedded_again(
    lite, ingest, folder, stored, index
):
    source = folder(**{"a.md": GOOD, "b.txt": "Bees."})
    ingest(source)
    chunks, _, before = stored()
    old = before.filter(pl.col("uri") == "a.md").with_columns(parser=pl.lit("roost-markdown 0"))

    async def write_older_parser() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            await write_rows(store, version.ledger, old.to_dicts(), run_id="older")

    asyncio.run(write_older_parser())
    _, report = ingest(source)
    assert (report.documents.reread, report.documents.unchanged, report.chunks.embedded) == (1, 1, 0)
    assert stored()[0].equals(chunks)
    assert stored()[2]["parser"].to_list() == before["parser"].to_list()
    _, report = ingest(source)
    assert report.documents.reread == 0


def test_a_narrower_glob_deletes_nothing_that_it_leaves_out(lite, ingest, folder, stored):
    source = folder(**{"a.md": GOOD, "b.txt": "Bees."})
    ingest(source)
    _, report = ingest(source / "*.md")
    assert report.documents.deleted == 0
    assert set(stored()[2]["uri"]) == {"a.md", "b.txt"}


def test_a_section_that_moves_to_a_later_batch_is_not_embedded_again(lite, ingest, folder, monkeypatch):
    moving = " ".join(f"Cabin {n} of the ferry sleeps {n % 7 + 1}." for n in range(150))
    source = folder(**{"a.md": f"# Start\n\nHere.\n\n## Cabins\n\n{moving}\n", "z.md": "# End\n\nThere.\n"})
    monkeypatch.setenv("ROOST_INGEST__BATCH_BYTES", "1024")  # each document a batch of its own
    _, first = ingest(source)
    folder(**{"a.md": "# Start\n\nNow.\n", "z.md": f"# End\n\nThen.\n\n## Cabins\n\n{moving}\n"})
    _, second = ingest(source)
    assert second.documents.changed == 2
    assert second.chunks.embedded == 2
    assert second.chunks.reused == first.chunks.written - 2


def test_a_text_in_two_batches_of_a_first_run_is_embedded_once(lite, ingest, folder, monkeypatch):
    monkeypatch.setenv("ROOST_INGEST__BATCH_BYTES", "1024")
    text = "The ferry to the island leaves at noon. " * 40
    _, report = ingest(folder(**{"a.txt": text, "b.txt": text}))
    assert report.chunks.reused == report.chunks.embedded == report.chunks.written / 2


def test_an_embedder_that_fails_leaves_the_old_chunks_searchable_and_the_next_run_goes_on(
    lite, ingest, folder, stored, monkeypatch
):
    from roost.tasks.models.embedder import Embedder

    source = folder(**{"a.md": GOOD})
    ingest(source)
    before = stored()[0]
    (source / "a.md").write_text(GOOD.replace("noon", "dawn"))
    with monkeypatch.context() as broken:
        broken.setattr(Embedder, "embed_chunks", _out_of_memory)
        with pytest.raises(RoostError, match="out of memory"):
            ingest(source)
    assert stored()[0].equals(before)
    _, report = ingest(source)
    assert report.documents.changed == 1
    assert any("dawn" in text for text in stored()[0]["text"])


def test_an_index_is_said_to_be_filling_until_a_run_has_completed_in_it(lite, ingest, folder, index, monkeypatch):
    from roost.tasks.models.embedder import Embedder

    def is_filling() -> bool:
        return asyncio.run(status.describe_indexes(index)).indexes[0].filling

    source = folder(**{"a.md": GOOD})
    with monkeypatch.context() as broken:
        broken.setattr(Embedder, "embed_chunks", _out_of_memory)
        with pytest.raises(RoostError, match="out of memory"):
            ingest(source)
    assert is_filling()
    ingest(source)
    assert not is_filling()


def test_a_model_that_does_not_load_leaves_no_empty_index_behind(lite, ingest, folder, index, monkeypatch):
    def fail(*_: object) -> None:
        raise ModelError("it does not load")

    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", fail)
    with pytest.raises(ModelError, match="it does not load"):
        ingest(folder(**{"a.md": GOOD}))

    async def collections() -> list[str]:
        async with open_store(load_settings().milvus) as store:
            return await store.list_collections()

    assert asyncio.run(collections()) == []


async def _out_of_memory(*_: object) -> None:
    raise RuntimeError("out of memory")


def test_an_index_that_is_dropped_while_all_are_described_is_left_out_and_by_its_name_refused(
    lite, ingest, folder, index, monkeypatch
):
    source = folder(**{"a.md": GOOD})
    ingest(source)
    read = status.read_ledger

    async def drop_first(store, ledger):
        await drop_version(store, await require_live_version(store, index))
        return await read(store, ledger)

    monkeypatch.setattr(status, "read_ledger", drop_first)
    assert asyncio.run(status.describe_indexes(None)).indexes == ()
    ingest(source)
    with pytest.raises(CollectionNotFoundError, match="does not exist"):
        asyncio.run(status.describe_indexes(index))
