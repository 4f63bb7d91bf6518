"""The flow `evaluation`: quality, latency and client timings of an index, stored and compared with earlier ones.

questions -> quality, latency -> answers, client timings -> comparison and verdict -> files, artifact, event
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State

from roost.flows.parameters import EvaluationRequest
from roost.flows.running import events, reports
from roost.flows.running.ends import end_state, run_context, run_name
from roost.flows.running.progress import Stage, report_progress, report_waiting
from roost.tasks.errors import StoreError, UsageError
from roost.tasks.evaluation.client_timings import TIMING
from roost.tasks.evaluation.comparison import compare_with_history
from roost.tasks.evaluation.history import read_history, store_evaluation
from roost.tasks.evaluation.measured import Measured, TimedClients, make_report
from roost.tasks.evaluation.questions import Questions, read_questions
from roost.tasks.evaluation.report import EvaluationReport, trend
from roost.tasks.evaluation.report_parts import (
    SampleAnswer,
    TimingConditions,
)
from roost.tasks.evaluation.thresholds import Thresholds, check_measures, check_thresholds
from roost.tasks.evaluation.timing_cells import choose_cells
from roost.tasks.evaluation.ways import choose_ways
from roost.tasks.markdown import escaped
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.reranker import shared_reranker
from roost.tasks.prefect_tasks import evaluation as evaluation_tasks
from roost.tasks.search.retrieve import Models, search
from roost.tasks.settings import Settings, load_settings
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.names import check_index_name

#: Hits that each answer of the language model is made from.
HITS_PER_ANSWER = 5


@flow(
    name="evaluation",
    flow_run_name=run_name("evaluate {request.index}"),
    persist_result=False,
    validate_parameters=True,
)
async def evaluation(request: EvaluationRequest) -> State[EvaluationReport]:
    """Measure quality and latency of an index, time the clients, and compare with earlier evaluations.

    Ends as `Completed`, or as `Failed` with a message that begins with `QualityMissed:` when a threshold is missed. The
    data of the state is the report.

    Raises:
        UsageError: There is no such index, the questions cannot be read, or they cannot decide a threshold.
        TransientError: Milvus was unavailable for longer than the retries last.
    """
    settings = load_settings()
    given = await asyncio.to_thread(given_questions, request, settings)
    async with run_context(settings):
        report_progress(Stage("asking the questions"))
        measured = await _measure(request, settings, given)
        if request.timings != "none":
            report_progress(Stage("timing sync and async calls"))
        timed = await _time_clients(request, settings, measured)
        answers = await _answer(measured, settings)
    thresholds = Thresholds.of(request.thresholds, request.max_drop)
    folder = settings.evaluation.folder
    history = await asyncio.to_thread(read_history, folder, request.index)
    comparison = await asyncio.to_thread(compare_with_history, history, measured.quality, thresholds)
    report = make_report(str(runtime.flow_run.id or uuid.uuid4()), measured, timed, answers, comparison)
    report = replace(report, history=trend([earlier.trend_point for earlier in history], report.trend_point))
    frames = {"questions": measured.quality.per_question, "timings": timed.timings}
    report = await asyncio.to_thread(store_evaluation, folder, report, frames)
    await reports.publish_evaluation(report)
    summary = report.summary()
    get_run_logger().info(summary)
    if report.missed:
        events.emit_quality_dropped(report)
    return end_state(report, "; ".join([summary, *report.missed]))


def given_questions(request: EvaluationRequest, settings: Settings) -> Questions | None:
    """Read the questions of the request, if it names any, and check the request before anything is measured.

    Raises:
        UsageError: The index's name, the questions, a threshold, or added latency on Milvus Lite is invalid.
        ConfigurationError: Answers are requested, and no language model is set.
    """
    check_index_name(request.index)
    thresholds = Thresholds.of(request.thresholds, request.max_drop)
    check_measures(thresholds.values)
    if request.latency_ms and settings.milvus.is_lite:
        raise UsageError("--latency-ms needs a Milvus server; a file of Milvus Lite is not reached over a network")
    if request.answers:
        from roost.tasks.search.answer import check_llm  # LlamaIndex and openai: two seconds

        check_llm(settings.llm)
    if not request.questions:
        return None
    questions = read_questions(request.questions, request.split)
    check_thresholds(thresholds, questions)
    return questions


async def _measure(request: EvaluationRequest, settings: Settings, given: Questions | None) -> Measured:
    """Measure quality and latency of the index, and search for the questions that are to be answered."""
    owner = LeaseOwner(f"run {runtime.flow_run.name!r}", wait_seconds=settings.ingest.wait_seconds, tell=report_waiting)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await require_live_version(store, request.index)
        model = await asyncio.to_thread(model_of, version.recipe, settings.embedding, version.endpoint)
        embedder = await stack.enter_async_context(Embedder(model, settings.embedding))
        await embedder.load()
        questions = given or await evaluation_tasks.sample(store, version, request.sample)
        check_thresholds(Thresholds.of(request.thresholds, request.max_drop), questions)
        reranker = shared_reranker(settings.search, settings.embedding)
        ways = choose_ways(version, request.compare, questions, reranker)
        quality = await evaluation_tasks.quality(store, version, embedder, questions)
        texts = questions.asked["text"]
        started = time.perf_counter()
        vectors = await embedder.embed_queries(texts.to_list())
        embedding_ms = 1000 * (time.perf_counter() - started) / len(vectors)
        latency = await evaluation_tasks.latency(store, version, texts, vectors)
        to_answer, models = texts.head(request.answers).to_list(), Models(embedder, reranker)
        return Measured(
            version=version,
            questions=questions,
            quality=quality,
            vectors=vectors,
            latency=replace(latency, embedding_ms=embedding_ms),
            ways=await evaluation_tasks.ways(store, version, questions, vectors, ways) if ways else (),
            found=await search(store, version, models, to_answer, k=HITS_PER_ANSWER) if to_answer else [],
            chunks=await store.count(version.name),
            is_reranked=reranker is not None,
            has_required_filter=bool(settings.search.required_filter.strip()),
        )


async def _time_clients(request: EvaluationRequest, settings: Settings, measured: Measured) -> TimedClients:
    """Time the clients. An error of Milvus becomes a note: the rest is measured."""
    conditions = TimingConditions(request.latency_ms, settings.milvus.is_lite)
    cells = choose_cells(request.timings, request.counts)
    if not cells:
        return TimedClients(TIMING.to_frame(), conditions)
    texts = measured.questions.asked["text"]
    try:
        timings = await evaluation_tasks.timings(
            settings.milvus, cells, texts, measured.vectors, request.latency_ms, report_waiting
        )
    except StoreError as error:
        return TimedClients(TIMING.to_frame(), conditions, f"No clients were timed: {escaped(str(error))}")
    return TimedClients(timings, conditions)


async def _answer(measured: Measured, settings: Settings) -> list[SampleAnswer]:
    """Have the language model answer the first questions."""
    if not measured.found:
        return []
    questions = measured.questions.asked["text"].head(len(measured.found)).to_list()
    return await evaluation_tasks.answers(questions, measured.found, settings.llm)
