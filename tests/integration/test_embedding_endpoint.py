"""An index whose model is at an endpoint, over real HTTP: whole runs, readers, rebuilds, kills at any request."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.embedding_server import KEY, TOKENIZER, EmbeddingServer, embedding_server
from tests.integration.crash import Nursery, Site, as_state
from tests.shared import common_folder

import roost
from roost.flows.evaluation import evaluation as evaluation_flow
from roost.flows.operations.index_reader import IndexReader
from roost.flows.operations.versions import roll_back
from roost.flows.parameters import EvaluationRequest, RebuildRequest
from roost.flows.rebuild import rebuild as rebuild_flow
from roost.flows.running.progress import PROGRESS, Progress, Waiting
from roost.flows.running.run import run_flow
from roost.tasks.errors import ModelError, RecipeError
from roost.tasks.search.hits import SearchOptions
from roost.tasks.settings import load_settings
from roost.tasks.steps.report_page import ingest_page

MODEL, OTHER = "herring-embed-small", "herring-embed-large"
Set = Callable[..., None]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server(key=KEY, dimensions={OTHER: 24}) as served:
        yield served


@pytest.fixture
def configure(server: EmbeddingServer, lite: str, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Set the endpoint of runs, and Milvus Lite; then more settings of the model, by name."""

    def configure(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"ROOST_EMBEDDING__{name.upper()}", str(value))

    configure(base_url=server.uri, model=MODEL, tokenizer=TOKENIZER, api_key=KEY)
    return configure


def ship(number: int) -> str:
    """A document of seven chunks of 170 tokens."""
    days = [f"On day {{}} ship {number} sails past buoy {part} with her lamps lit. " for part in range(7)]
    voyages = (f"## Voyage {part}\n\n{''.join(day.format(n) for n in range(11))}\n" for part, day in enumerate(days))
    return f"# Ship {number}\n\n{''.join(voyages)}"


def test_a_large_run_keeps_all_limits_and_loses_nothing_to_a_server_that_misbehaves(
    server: EmbeddingServer,
    configure: Set,
    ingest: Any,
    stored: Any,
    folder: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """1,393 chunks right and in order; no request over the limits; wall time at most 1.2 x tokens / rate."""
    configure(inputs_per_request=64, tokens_per_request=8_000, price=0.5)
    server.max_inputs, server.max_tokens = 64, 8_000
    server.rate, server.error_every, server.is_shuffled = 30_000.0, 20, True
    server.nan_in, server.other_dimension_in = "foghorn", "whistle"
    ships = {f"{number:03}.md": ship(number) for number in range(199)}
    bad = {"nan.md": "# Bad\n\nA foghorn sounds.\n", "other.md": "# Worse\n\nA whistle sounds.\n"}
    source = folder(**ships, **bad)
    events: list[Progress] = []
    token = PROGRESS.set(events.append)
    outcome, report = ingest(source)
    PROGRESS.reset(token)

    assert (outcome, report.documents.added, report.documents.quarantined) == ("Partial", 199, 2)
    reasons = {reject.uri: reject.reason for reject in report.rejects}
    assert reasons.keys() == bad.keys()
    assert "not_embedded: chunk 0: the endpoint gave a vector with numbers that are not finite" in reasons["nan.md"]
    assert "a vector of 15 numbers, not 16" in reasons["other.md"]
    chunks, vectors, ledger = stored()
    assert chunks.height == report.store.chunks == 1_393
    np.testing.assert_allclose(vectors, [server.vector(MODEL, text) for text in chunks["text"]], atol=1e-6)
    for document, uri in ledger.filter(ledger["status"] == "indexed").select("doc_id", "uri").iter_rows():
        own = chunks.filter(chunks["doc_id"] == document).sort("ordinal")
        places = [ships[uri].find(text) for text in own["text"]]
        assert (own["ordinal"].to_list(), -1 in places, places) == (list(range(7)), False, sorted(places))

    asked = server.chunk_requests()
    assert {one.status for one in asked} == {200, 429, 500}
    assert max(one.tokens for one in asked) <= 8_000
    assert max(len(one.texts) for one in asked) <= 64
    answered = [one for one in asked if one.status == 200]
    wall_s = answered[-1].time - asked[0].time
    tokens = sum(one.tokens for one in answered)
    print(f"{tokens} tokens at {server.rate:.0f}/s in {wall_s:.1f} s: {wall_s * server.rate / tokens:.2f} of the least")
    assert wall_s <= 3 * tokens / server.rate  # the ratio is measured elsewhere: other work makes it longer
    assert any(isinstance(event, Waiting) and "limits the rate" in event.message for event in events)

    assert len(server.embedded()) == len(set(server.embedded())) == 1_395
    assert report.cost == pytest.approx(report.tokens.embedded * 0.5e-6)
    page = ingest_page(report, Counter(), [], datetime.now(UTC)).as_markdown()
    assert f"| cost of the embedded tokens | {report.cost:g} |" in page
    assert page.count("a part of it has no usable vector") == 2
    before = len(server.asked)
    server.nan_in = server.other_dimension_in = ""
    outcome, again = ingest(source)
    assert (outcome, again.chunks.embedded, again.store.chunks) == ("Completed", 2, 1_395)
    assert sum(len(one.texts) for one in server.asked[before:] if one.status == 200) <= 2 + 3  # with the canary text
    kept = [tmp_path, common_folder(tmp_path_factory) / "shared-prefect"]
    files = [file for place in kept for file in place.rglob("*") if file.is_file()]
    assert all(any(file.is_relative_to(place) for file in files) for place in kept)
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []
    assert KEY not in f"{report}{events}{load_settings()!r}"


def test_readers_and_rebuilds_use_the_endpoint_of_each_version(
    server: EmbeddingServer, configure: Set, ingest: Any, folder: Any, index: str
) -> None:
    configure(query_instruction="query: ", price=20)
    source = folder(**{f"{number}.md": ship(number) for number in range(3)})
    _, planned = ingest(source, dry_run=True)
    assert planned.estimate.cost == pytest.approx(planned.estimate.tokens * 20e-6, abs=1e-6)
    assert planned.estimate.tokens == pytest.approx(3 * 7 * 170, rel=0.3)
    assert server.chunk_requests() == []
    ingest(source)
    text = next(text for text in server.embedded() if "ship 2 " in text and "buoy 4 " in text)

    def found_by_all(model: str) -> None:
        """Every reader asks the endpoint for the query, by the model of the live version."""
        before = len(server.asked)
        with roost.open_index(index) as opened:
            hits = opened.search(text, k=3)
            assert opened.llamaindex_retriever(k=3).retrieve(text)[0].node_id == hits[0].id
            assert opened.langchain_retriever(k=3).invoke(text)[0].id == hits[0].id

        async def read() -> str:
            async with IndexReader(load_settings()) as reader:
                return (await reader.search(index, text, 3, SearchOptions()))[0].id

        assert asyncio.run(read()) == hits[0].id
        expected = server.vector(model, f"query: {text}") @ server.vector(model, hits[0].text)
        assert hits[0].score == pytest.approx(float(expected), abs=1e-3)
        assert server.asked[before:]

    found_by_all(MODEL)
    _, evaluated = run_flow(evaluation_flow, EvaluationRequest(index=index, sample=5, timings="none"))
    assert evaluated.queries
    configure(model=OTHER)
    with pytest.raises(RecipeError, match="roost rebuild"):
        ingest(source)
    request = RebuildRequest(index=index, max_drop=1.0)
    _, rebuilt = run_flow(rebuild_flow, request)
    assert (rebuilt.promoted, rebuilt.chunks.embedded, rebuilt.chunks.reused) == (True, 21, 0)
    found_by_all(OTHER)
    asyncio.run(roll_back(index))
    found_by_all(MODEL)
    assert rebuilt.changes == {"model": (MODEL, OTHER), "dimension": (16, 24)}


def test_an_endpoint_that_moved_is_followed_and_one_that_is_not_set_is_remembered(
    server: EmbeddingServer, configure: Set, ingest: Any, folder: Any, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = ""
    source = folder(**{"a.md": ship(1)})
    ingest(source)
    for name in ("BASE_URL", "MODEL", "TOKENIZER", "API_KEY"):
        monkeypatch.delenv(f"ROOST_EMBEDDING__{name}")
    (source / "b.md").write_text(ship(2))
    _, report = ingest(source)  # what is not set follows the live version
    assert report.chunks.embedded == 7
    assert asyncio.run(_searched(index))
    with embedding_server() as moved:
        monkeypatch.setenv("ROOST_EMBEDDING__BASE_URL", moved.uri)
        (source / "c.md").write_text(ship(3))
        assert ingest(source)[1].chunks.embedded == 7
        monkeypatch.delenv("ROOST_EMBEDDING__BASE_URL")
        before = len(moved.asked)
        assert asyncio.run(_searched(index))
        assert len(moved.asked) > before


async def _searched(index: str) -> list[Any]:
    return list(await roost.asearch("Which ship?", index))


def test_another_model_behind_the_name_is_refused_and_a_fresh_rebuild_mends_it(
    server: EmbeddingServer, configure: Set, ingest: Any, folder: Any, index: str
) -> None:
    source = folder(**{"a.md": ship(1)})
    ingest(source)
    server.salt = "another model"
    (source / "b.md").write_text(ship(2))
    before = len(server.chunk_requests())
    with pytest.raises(ModelError, match=f"roost rebuild --index {index} --fresh --max-drop 1"):
        ingest(source)
    with pytest.raises(ModelError, match=f"roost rebuild --index {index} --fresh"):
        ingest(source, dry_run=True)
    assert len(server.chunk_requests()) == before  # nothing was embedded
    with pytest.raises(ModelError, match="another model answers"):
        asyncio.run(_searched(index))
    _, report = run_flow(rebuild_flow, RebuildRequest(index=index, fresh=True, max_drop=1.0))
    assert (report.promoted, report.chunks.embedded, report.chunks.reused) == (True, 14, 0)
    assert asyncio.run(_searched(index))
    assert ingest(source)[1].chunks.embedded == 0


#: Requests of the run below at which it is killed: before they are sent, or once they are answered.
KILLS = [
    pytest.param(when, number, marks=() if (when, number) in (("before", 4), ("after", 12)) else pytest.mark.long)
    for when in ("before", "after")
    for number in range(1, 13)
]


@pytest.mark.parametrize(("when", "number"), KILLS)
def test_after_a_kill_at_any_request_nothing_that_was_committed_is_embedded_again(
    nursery: Nursery, server: EmbeddingServer, folder: Any, tmp_path: Path, when: str, number: int
) -> None:
    source = folder(**{f"{n}.md": f"# Ship {n}\n\n" + f"Ship {n} sails at noon. " * 12 for n in range(8)})
    place = {"BASE_URL": server.uri, "MODEL": MODEL, "TOKENIZER": TOKENIZER, "API_KEY": KEY}
    limits = {"INPUTS_PER_REQUEST": "2", "REQUESTS_IN_FLIGHT": "2"}
    env = {f"ROOST_EMBEDDING__{name}": value for name, value in (place | limits).items()}
    env["ROOST_INGEST__BATCHES_IN_FLIGHT"] = "3" if number < 7 else "1"  # one: earlier batches are committed then
    site = Site(nursery, str(tmp_path / "roost.db"), f"k{uuid.uuid4().hex[:8]}", source, env=env)
    killed = site.run(preload=["openai"], **{f"kill_{when}_request": number})
    assert killed.killed
    left = site.nursery.run(site.uri, site.look).answers[0]
    state = as_state(left) if "error" not in left else None
    indexed = {key for key, row in state.ledger.items() if row["status"] == "indexed"} if state else set()
    committed = {row["text"] for row in state.chunks.values() if row["doc_id"] in indexed} if state else set()
    assert committed or number < 11
    first = len(server.asked)
    settled = site.settle()
    again = {text for one in server.asked[first:] for text in one.texts}
    assert committed & again == set()
    assert len(settled.ledger) == 8
    for row in settled.chunks.values():
        np.testing.assert_allclose(row["vector"], server.vector(MODEL, row["text"]), atol=1e-6)
