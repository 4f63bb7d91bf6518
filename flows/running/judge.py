"""Judging the new version of a rebuild: its questions, its thresholds, and the verdict."""

from __future__ import annotations

import asyncio

from roost.flows.parameters import RebuildRequest
from roost.flows.running.catch_up import Build, read_target_ledger
from roost.tasks.errors import UsageError
from roost.tasks.evaluation.measures import BY_CHUNK
from roost.tasks.evaluation.questions import Questions, read_questions
from roost.tasks.evaluation.thresholds import Thresholds, check_measures, check_thresholds, values_by_measure
from roost.tasks.evaluation.version_comparison import (
    Verdict,
    draw_common_questions,
    reasons_against,
    too_few,
)
from roost.tasks.prefect_tasks import rebuild as rebuild_tasks
from roost.tasks.versions import carry_over

#: Value of `max_drop` that allows any drop: no measure can fall by more.
ANY_DROP = 1.0


async def read_requested_questions(request: RebuildRequest) -> Questions | None:
    """Read the questions of the request, if it names any, and check its thresholds.

    Raises:
        UsageError: The questions cannot be read, or a threshold cannot be decided by them.
    """
    check_measures(values_by_measure(request.thresholds))
    if request.questions:
        questions = await asyncio.to_thread(read_questions, request.questions, request.split)
        check_thresholds(_request_thresholds(request), questions)
        return questions
    if any(name.startswith(BY_CHUNK) for name in values_by_measure(request.thresholds)):
        raise UsageError("sampled questions judge no spans, so chunks cannot be measured: give --questions")
    return None


async def judge(build: Build, questions: Questions | None) -> Verdict:
    """Ask both versions the same questions, and list why the new one must not be promoted."""
    # Runs that wrote the live version since its ledger was read may have added, changed or deleted documents.
    build.live_ledger = await rebuild_tasks.refresh_snapshot(build.store, build.live, build.live_ledger)
    live, target = build.live_ledger, await read_target_ledger(build)
    lost = carry_over.find_lost(live.rows, target.rows, build.select_gone)
    against = carry_over.too_many_lost(lost, live.searchable.height, build.options.max_delete_fraction)
    if questions is None and live.searchable.is_empty():
        return Verdict(None, None, None, tuple(against), lost)
    if questions is None:
        questions = await draw_common_questions(build.store, build.live, live.rows, target.rows, build.request.sample)
    thresholds = _request_thresholds(build.request)
    check_thresholds(thresholds, questions)
    after = await rebuild_tasks.evaluate(build.target_store, build.target, build.embedder, questions, target.rows)
    before, unmeasured = await rebuild_tasks.evaluate_live(
        build.store, build.live, build.embedder, questions, build.settings.embedding, live.rows
    )
    against += reasons_against(before, after, thresholds, unmeasured=unmeasured)
    undecided = too_few(questions, build.target) if build.request.max_drop < ANY_DROP else ""
    return Verdict(questions, before, after, tuple(against), lost, undecided)


def _request_thresholds(request: RebuildRequest) -> Thresholds:
    return Thresholds.of(request.thresholds, None if request.max_drop >= ANY_DROP else request.max_drop)
