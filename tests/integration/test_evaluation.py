"""The flow `evaluation`: what it measures, what it catches, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from tests.loop_watch import MAX_CALLBACK_S, LoopWatch
from tests.stub_llm import stub_llm

from roost.flows.evaluation import evaluation as evaluation_flow
from roost.flows.parameters import EvaluationRequest
from roost.flows.running.run import run_flow
from roost.tasks.errors import StoreError, UsageError
from roost.tasks.evaluation import client_timings, sample_answers, timing_cells
from roost.tasks.evaluation.clients import CLIENTS, PyMilvus
from roost.tasks.evaluation.measures import MEASURES
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import UnknownJudgment
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import StoreCounts
from roost.tasks.versions.ledger_format import LEDGER_FORMAT, ledger_name
from roost.tasks.versions.live_version import require_live_version

ANIMALS = {
    "bees.md": "# Bees\n\nA hive of bees makes honey from clover.\n",
    "cats.md": "# Cats\n\nThe cat sleeps on the warm stove all winter.\n",
    "dogs.md": "# Dogs\n\nA sheepdog herds the flock down to the valley.\n",
    "ferry.md": "# Ferry\n\nThe ferry to the island leaves at noon.\n\n# Fares\n\nA child pays four crowns to cross.\n",
}
QUESTIONS = [
    {"_id": "honey", "query": "who makes honey?", "relevant": ["bees.md"]},
    {"_id": "stove", "query": "what lies on the stove?", "relevant": [{"document": "cats.md", "grade": 2}]},
    {"_id": "flock", "query": "who looks after the sheep?", "relevant": ["dogs.md"]},
    {"_id": "fare", "query": "what does a child pay?", "doc": "ferry.md", "spans": [{"start": 50, "end": 100}]},
]
KEYS = {
    "index", "version", "queries", "judged", "unknown", "quality", "ann_recall", "timings", "verdict", "thresholds",
}  # fmt: skip
CELL = {
    "client", "operation", "mode", "count", "seconds", "p50_ms", "p95_ms", "p99_ms", "per_second", "speedup", "errors",
}  # fmt: skip

Evaluate = Callable[..., tuple[str, EvaluationReport]]


@pytest.fixture
def evaluate(prefect_api: str, index: str) -> Evaluate:
    """Run the flow `evaluation` on this test's index: (state name, report)."""

    def run(questions: list[dict[str, Any]] | None = None, **choices: Any) -> tuple[str, EvaluationReport]:
        if questions is not None:
            file = Path("questions.jsonl")
            file.write_text("".join(json.dumps(row) + "\n" for row in questions))
            choices["questions"] = str(file)
        return run_flow(evaluation_flow, EvaluationRequest(index=index, **{"timings": "none", **choices}))

    return run


@pytest.mark.usually("lite")
def test_quality_is_measured_kept_shown_and_a_broken_ranking_is_caught(
    milvus, ingest, evaluate, folder, index, prefect_api
):
    ingest(folder(**ANIMALS))
    stranger = {"_id": "gone", "query": "where is the cow?", "relevant": ["cows.md", "bees.md"]}
    state, report = evaluate([*QUESTIONS, stranger], thresholds={"nDCG@10": 0.5, "chunk success@1": 0.5}, max_drop=0.02)
    assert (state, report.verdict, report.missed) == ("Completed", "passed", ())
    assert set(report.as_dict()) >= KEYS
    assert set(report.quality) == {*MEASURES, *(f"chunk {name}" for name in MEASURES)}
    assert (report.queries, report.judged, len(report.unknown_judgments)) == (5, 5, 1)
    assert report.unknown_judgments == (UnknownJudgment("gone", "cows.md", "not in the index"),)
    assert report.quality["recall@100"].value == pytest.approx(0.9)  # all but the cow
    assert report.quality["chunk success@1"].value == 1
    assert report.ann_recall == 1
    assert not report.questions.sampled
    kept, table = map(Path, report.files)
    assert json.loads(kept.read_text())["quality"] == report.as_dict()["quality"]
    assert pl.read_parquet(table).height == 5

    asyncio.run(_swap_vectors(index))
    state, broken = evaluate([*QUESTIONS, stranger], max_drop=0.02)
    assert (state, broken.verdict) == ("QualityMissed", "missed")
    assert broken.quality["nDCG@10"].value < report.quality["nDCG@10"].value - 0.1
    assert "nDCG@10 fell by" in broken.missed[0]
    assert {regression.result.question for regression in broken.regressions} >= {"honey", "stove"}
    assert broken.compared_with.version == report.version
    _, again = evaluate([*QUESTIONS, stranger], max_drop=0.02)
    assert again.verdict == "missed"  # the fall is not what the next is measured by
    assert [point.verdict for point in again.history] == ["passed", "missed", "missed"]

    artifacts = httpx.post(
        f"{prefect_api}/artifacts/filter", json={"artifacts": {"key": {"any_": [f"evaluation-{index}"]}}}, timeout=30
    ).json()
    assert len(artifacts) == 3
    shown = max(artifacts, key=lambda artifact: artifact["created"])["data"]
    for words in ("nDCG@10 fell by", "## Regressions", "| who makes honey? |", "| cows.md |", str(again.files[0])):
        assert words in shown


def test_a_drawn_sentence_finds_its_document_and_a_model_answers_it(lite, ingest, evaluate, folder, monkeypatch):
    twin = {"copy.md": ANIMALS["bees.md"]}
    monkeypatch.setenv("ROOST_EMBEDDING__SPARSE", "bm25")  # what the recipe searches by, questions are asked by
    ingest(folder(**ANIMALS, **twin))
    with stub_llm() as llm:
        for name, value in {"BASE_URL": llm.uri, "MODEL": "some-model", "API_KEY": "some-key"}.items():
            monkeypatch.setenv(f"ROOST_LLM__{name}", value)
        monkeypatch.setattr(sample_answers, "MAX_CONCURRENT_ANSWERS", 1)
        llm.turns = ["answer", "answer", "refused"]
        state, report = evaluate(sample=50, answers=3, max_drop=0.02)
    assert sorted(one.answer.strip() for one in report.answers) == ["", llm.reply, llm.reply]
    assert ["refuses the key" in one.error for one in report.answers].count(True) == 1  # the rest is kept
    assert all("bees.md" in one.hits for one in report.answers)  # all that there is, of four documents
    assert "some-key" not in json.dumps(report.as_dict())
    assert state == "Completed"
    assert report.questions.sampled
    assert "sampled from the index" in report.notes[0]
    assert report.queries == report.judged == 6  # one of each document, and the second of the ferry
    assert report.quality["recall@5"].value == 1  # a text that stands twice may be found in both places
    assert report.quality["success@1"].value >= 0.8
    assert report.verdict == "measured"  # there is nothing yet to fall from
    assert "No earlier evaluation" in report.notes[-1]

    class Refused(PyMilvus):
        def fill(self, rows: Any) -> None:
            raise StoreError("Milvus refuses: no such index")

    monkeypatch.setattr(timing_cells, "TUTORIALS", {"pymilvus": {"search": (2,)}})
    monkeypatch.setitem(CLIENTS, "pymilvus", Refused)
    _, again = evaluate(sample=50, max_drop=0.02, timings="tutorials")
    assert (again.verdict, again.timings) == ("passed", ())
    assert again.notes[-1] == "No clients were timed: Milvus refuses: no such index"
    assert again.questions.fingerprint == report.questions.fingerprint
    assert again.answers == ()


@pytest.mark.usually("lite")
def test_the_clients_are_timed_in_every_cell_and_nothing_is_left_behind(milvus, ingest, evaluate, folder, index):
    ingest(folder(**ANIMALS))
    # Making collections takes a server seconds: there the tutorials' cells do.
    which = {"timings": "all"} if load_settings().milvus.is_lite else {"timings": "tutorials", "latency_ms": 5.0}
    with LoopWatch() as watch:
        _, report = evaluate([{"query": "honey"}, {"query": "a ferry"}], counts=[3], **which)
    assert [str(each) for each in watch.slow if each.ours > MAX_CALLBACK_S] == []
    cells = report.timings
    assert {(cell.client, cell.operation, cell.mode) for cell in cells} == {
        (cell.client, cell.operation, mode)
        for cell in timing_cells.choose_cells(which["timings"])
        for mode in client_timings.MODES
    }
    assert all(set(cell) >= CELL for cell in report.as_dict()["timings"])
    assert [cell for cell in cells if cell.errors or not cell.same or cell.p99_ms is None] == []
    assert all((cell.speedup is None) == (cell.mode == "sync") for cell in cells)
    assert report.quality == {}  # nothing is judged
    assert report.latency.questions == 2
    assert report.timed.is_lite == load_settings().milvus.is_lite
    assert _collections(index) == {report.version, ledger_name(report.version, LEDGER_FORMAT)}


def test_scratch_collections_go_even_when_a_client_fails_and_failed_calls_are_counted(
    standalone, monkeypatch, ingest, evaluate, folder, index
):
    class Failing(PyMilvus):
        async def acall(self, operation: str, row: Any) -> Any:
            if operation == "delete":
                raise ConnectionError("lost")
            return await super().acall(operation, row)

    class Broken(PyMilvus):
        def fill(self, rows: Any) -> None:
            super().fill(rows)
            raise RuntimeError("no space left")

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    ingest(folder(**ANIMALS))
    before = _collections(index)
    monkeypatch.setattr(timing_cells, "TUTORIALS", {"pymilvus": {"delete": (2,)}})
    monkeypatch.setitem(CLIENTS, "pymilvus", Failing)
    _, report = evaluate([{"query": "honey"}], timings="tutorials")
    assert [cell.errors for cell in report.timings] == [0, 4]  # two calls failed, two rows are still there
    assert _collections(index) == before
    monkeypatch.setitem(CLIENTS, "pymilvus", Broken)
    with pytest.raises(Exception, match="no space left"):
        evaluate([{"query": "honey"}], timings="tutorials")
    assert _collections(index) == before


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"questions": "nowhere"}, "no questions in nowhere"),
        ({"thresholds": {"ndcg": 0.5}}, "unknown measure 'ndcg'"),
        ({"thresholds": {"nDCG@10": float("nan")}}, "a number from 0 to 1"),
        ({"latency_ms": 30}, "--latency-ms needs a Milvus server"),
        ({"answers": 3}, "ROOST_LLM__MODEL"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(lite, choices, says):
    from roost.flows.evaluation import given_questions

    with pytest.raises(UsageError, match=says):
        given_questions(EvaluationRequest(**choices), load_settings())


def test_judgments_of_another_corpus_are_refused_with_both_namings(lite, ingest, evaluate, folder):
    ingest(folder(**ANIMALS))
    with pytest.raises(UsageError, match=r"the judgments name 13734012, the index contains bees.md"):
        evaluate([{"query": "honey", "relevant": ["13734012"]}])


def test_a_document_that_is_not_cut_is_one_chunk_and_what_is_not_seen_is_counted(
    lite, ingest, folder, monkeypatch, stored
):
    monkeypatch.setenv("ROOST_CHUNKING__METHOD", "none")
    long = "The ferry leaves at noon. " * 200
    _, report = ingest(folder(**{"long.txt": long, "short.md": "# Bees\n\nA hive.\n\n## Clover\n\nIt blooms."}))
    assert report.store == StoreCounts(documents=2, chunks=2)
    assert report.tokens.truncated == 200 * 6 + 2 - 256
    chunks, _, _ = stored()
    assert (
        set(chunks["text"]) == {long.strip(), "# Bees\n\nA hive.\n\n## Clover\n\nIt blooms."} or long in chunks["text"]
    )


async def _swap_vectors(index: str) -> None:
    """Give every chunk the vector of the next one, as a wrong pooling or a mixed-up model would."""
    async with open_store(load_settings().milvus) as store:
        version = await require_live_version(store, index)
        rows = [row async for page in store.read_pages(version.name, ["*"]) for row in page]
        rows.sort(key=lambda row: str(row["id"]))
        vectors = [row["vector"] for row in rows]
        for row, vector in zip(rows, [*vectors[1:], vectors[0]], strict=True):
            row["vector"] = vector
        await store.upsert(version.name, rows)


def _collections(index: str) -> set[str]:
    """Collections of this index, and those that timings make and drop; the server has those of other tests too."""

    async def names() -> set[str]:
        async with open_store(load_settings().milvus) as store:
            return {name for name in await store.list_collections() if name.startswith((f"{index}__", "roost_scratch"))}

    return asyncio.run(names())
