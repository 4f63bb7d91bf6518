"""The flow `evaluation`: how well an index answers, how fast, and what async buys, kept and compared.

questions -> quality -> gate
          -> latency, timings -> files, artifact
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from roost.flows.parameters import EvaluationRequest
from roost.flows.running import artifacts, events
from roost.flows.running.progress import report_waiting
from roost.tasks.errors import StoreError, UsageError
from roost.tasks.evaluation.client_timings import TIMING, choose_cells
from roost.tasks.evaluation.history import baseline, keep, read_history, read_questions_of
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.metrics import Quality, regressions
from roost.tasks.evaluation.questions import Questions, read_questions
from roost.tasks.evaluation.report import headline, trend, verdict_of
from roost.tasks.evaluation.thresholds import Thresholds, check_measures, check_thresholds, missed, values_by_measure
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.prefect_tasks import evaluation as evaluation_tasks
from roost.tasks.search.retrieve import search
from roost.tasks.settings import Settings, load_settings
from roost.tasks.versions.version import Version, check_index_name, existing_version

#: Questions that the report lists as the worst; the Parquet file has all.
WORST = 20
#: Share of the exactly nearest chunks that an index should find.
FINE_RECALL = 0.95


@flow(name="evaluation", flow_run_name="evaluate {request.index}", persist_result=False, validate_parameters=True)
async def evaluation(request: EvaluationRequest) -> State[dict[str, Any]]:
    """Ask an index questions, judge its answers, time it and its clients, and compare with before.

    Ends as `Completed`, or as `Failed` under the name `QualityMissed` when a threshold is missed; its data is the
    report.

    Raises:
        UsageError: There is no such index, the questions cannot be read, or a threshold cannot be told by them.
        TransientError: Milvus stayed away longer than the retries reach.
    """
    settings = load_settings()
    thresholds = Thresholds.of(request.thresholds, request.max_drop)
    questions = await asyncio.to_thread(given_questions, request, settings)
    owner = LeaseOwner(f"run {runtime.flow_run.name!r}", wait_seconds=settings.ingest.wait_seconds, tell=report_waiting)
    async with open_store(settings.milvus, create=False, owner=owner) as store:
        version = await existing_version(store, request.index)
        model = await asyncio.to_thread(model_of, version.recipe, settings.embedding)  # it hashes the weights
        with Embedder(model, settings.embedding) as embedder:
            await embedder.load()
            questions = questions or await evaluation_tasks.draw(store, version, request.sample)
            check_thresholds(thresholds, questions)
            quality = await evaluation_tasks.quality(store, version, embedder, questions)
            started = time.perf_counter()
            vectors = await embedder.queries(questions.asked["text"].to_list())
            embedding_ms = 1000 * (time.perf_counter() - started) / len(vectors)
            texts = questions.asked["text"]
            to_answer = texts.head(request.answers).to_list()
            found = await search(store, version, embedder, to_answer, k=evaluation_tasks.PASSAGES) if to_answer else []
        latency = await evaluation_tasks.latency(store, version, texts, vectors) | {"embedding_ms": embedding_ms}
        facts: dict[str, Any] = {"chunks": await store.count(version.name), "is_lite": store.is_lite}
    timed, notes = await _timings(request, settings, questions, vectors)
    frames = {"questions": quality.per_question, "timings": timed}
    facts["answers"] = await evaluation_tasks.answers(to_answer, found, settings.llm) if to_answer else []
    report = _report(request, version, questions, quality, timed, {"latency": latency, **facts})
    report["notes"] += notes
    return await _concluded(report, quality, frames, thresholds, settings)


def given_questions(request: EvaluationRequest, settings: Settings) -> Questions | None:
    """Read the questions that were given, if any, and refuse what the request cannot have.

    Raises:
        UsageError: An index's name, a file, a threshold, or a round trip before a file.
        ConfigurationError: Answers are asked for, and no language model is set.
    """
    from roost.tasks.search.answer import check_llm

    check_index_name(request.index)
    thresholds = Thresholds.of(request.thresholds, request.max_drop)
    check_measures(thresholds.values)
    if request.latency_ms and settings.milvus.is_lite:
        raise UsageError("--latency-ms needs a Milvus server; a file of Milvus Lite is not reached over a network")
    if request.answers:
        check_llm(settings.llm)
    if not request.questions:
        return None
    questions = read_questions(request.questions, request.split)
    check_thresholds(thresholds, questions)
    return questions


async def _timings(
    request: EvaluationRequest, settings: Settings, questions: Questions, vectors: np.ndarray
) -> tuple[pl.DataFrame, list[str]]:
    """Time the clients; what Milvus refuses there is a note, for the rest is measured by then."""
    cells = choose_cells(request.timings, request.counts)
    if not cells:
        return TIMING.to_frame(), []
    texts = questions.asked["text"]
    try:
        timed = await evaluation_tasks.timings(
            settings.milvus, cells, texts, vectors, request.latency_ms, report_waiting
        )
        return timed, []
    except StoreError as error:
        return TIMING.to_frame(), [f"No clients were timed: {error}"]


def _report(
    request: EvaluationRequest, version: Version, questions: Questions, quality: Quality, timings: pl.DataFrame,
    measured: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Put together what was measured; the verdict follows."""
    recipe = version.recipe
    notes = []
    if questions.drawn:
        notes.append(
            "**Known items:** each question is a sentence of a document, which must be found. That is easier than what "
            "people ask: good for noticing a fall, no measure of usefulness."
        )
    if quality.ann_recall is not None and quality.ann_recall < FINE_RECALL:
        notes.append(
            f"**The index misses {1 - quality.ann_recall:.1%} of the exactly nearest chunks.** Raise "
            "ROOST_MILVUS__SEARCH_EF, or build it with more links."
        )
    return {
        "index": version.index,
        "version": version.name,
        "recipe": {"fingerprint": recipe.fingerprint, "model": recipe.model, "chunking": recipe.chunker},
        "chunks": measured["chunks"],
        "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": str(runtime.flow_run.id or uuid.uuid4()),
        "questions": {
            "origin": questions.origin, "fingerprint": questions.fingerprint, "known_items": questions.drawn,
        },
        "queries": quality.asked,
        "judged": quality.judged,
        "unknown": quality.unknown.height,
        "unknown_judgments": quality.unknown.select("question", "document", "why").to_dicts(),
        "quality": quality.as_dict(),
        "ann_recall": quality.ann_recall,
        "latency": measured["latency"],
        "timings": timings.to_dicts(),
        "timed": {"latency_ms": request.latency_ms, "is_lite": measured["is_lite"]},
        "worst": quality.per_question.filter(pl.col(MAIN) < 1).head(WORST).to_dicts(),
        "answers": measured["answers"],
        "notes": notes,
        "thresholds": values_by_measure(request.thresholds),
        "max_drop": request.max_drop,
    }  # fmt: skip


async def _concluded(
    report: dict[str, Any], quality: Quality, frames: dict[str, pl.DataFrame], thresholds: Thresholds,
    settings: Settings,
) -> State[dict[str, Any]]:  # fmt: skip
    """Compare with before, decide, keep, publish."""
    folder = settings.evaluation.folder
    history = await asyncio.to_thread(read_history, folder, report["index"])
    before = baseline(history, report["questions"]["fingerprint"])
    then = await asyncio.to_thread(read_questions_of, before) if before else None
    values = {name: one["value"] for name, one in before["quality"].items()} if before else None
    report["compared_with"] = (
        {name: before[name] for name in ("evaluated", "version", "quality")} if before else None
    )  # fmt: skip
    report["regressions"] = regressions(quality.per_question, then).to_dicts() if then is not None else []
    report["missed"] = missed(quality.measures, thresholds, values)
    report["verdict"] = verdict_of(report["missed"], asked=thresholds.are_checkable(has_baseline=before is not None))
    if thresholds.max_drop is not None and before is None:
        report["notes"].append("No earlier evaluation of these questions to compare with: no drop can be told.")
    report["history"] = trend([*history, report])
    await asyncio.to_thread(keep, folder, report, frames)
    await artifacts.publish_evaluation(report)
    words = headline(report)
    get_run_logger().info(words)
    if report["missed"]:
        events.emit_quality_dropped(report)
        return Failed(name="QualityMissed", message="; ".join([words, *report["missed"]]), data=report)
    return Completed(message=words, data=report)
