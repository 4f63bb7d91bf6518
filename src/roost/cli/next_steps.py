"""Which command usually comes after another one, from what that one found."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roost.deployments.doctor import Diagnosis
    from roost.deployments.schedule_listing import Schedule
    from roost.flows.operations.status import StatusReport
    from roost.flows.operations.versions import PruneReport, VersionList
    from roost.tasks.evaluation.rebuild_report import RebuildReport
    from roost.tasks.evaluation.report import EvaluationReport
    from roost.tasks.evaluation.tuning import Tuning
    from roost.tasks.steps.report import IngestReport, PlanReport
    from roost.tasks.versions.verify_report import VerifyReport

FIRST_INGEST = "roost ingest ./docs --index docs"
WITHOUT_DRY_RUN = "the same command without --dry-run"


def search(index: str) -> str:
    """Search an index."""
    return f'roost search "a few words" --index {index}'


def after_run(report: IngestReport | PlanReport) -> str:
    """After an ingest or a backfill, or the plan of one."""
    from roost.tasks.steps.report import IngestReport

    if not isinstance(report, IngestReport):
        return WITHOUT_DRY_RUN
    if report.rejects:
        return "mend the documents above and run the same command again: it reads only what has changed"
    return search(report.index)


def after_search(query: str, index: str, *, found: bool, has_sections: bool) -> str:
    """After a search, which found something or nothing, and showed sections or only the chunks."""
    if not found:
        return f"roost status --index {index}"
    return f"roost {'ask' if has_sections else 'search'} {shlex.quote(query)} --index {index}" + (
        "" if has_sections else " --parent"
    )


def after_status(found: StatusReport, *, has_schedules: bool, access_command: str) -> str:
    """After the list of the indexes.

    Args:
        found: The indexes.
        has_schedules: Whether one of them is refreshed on a schedule.
        access_command: Gives the shell the addresses of the `roost up` that runs; empty if it has them.
    """
    if access_command:
        return f"{access_command} && roost status, for the indexes of `roost up`"
    if not found.indexes:
        return FIRST_INGEST
    first = found.indexes[0]
    if rejected := next((each for each in found.indexes if each.rejects), None):
        return f"roost backfill SOURCE --only-failed --index {rejected.index}"
    return search(first.index) if has_schedules else f"roost schedule SOURCE --index {first.index} --every 1h"


def after_verification(report: VerifyReport) -> str:
    """After a verification; one that found errors says itself what to do."""
    return f"roost evaluate --index {report.index}" if report.ok else ""


def after_evaluation(report: EvaluationReport) -> str:
    """After an evaluation: judged questions instead of sampled ones, another recipe if it is not good enough."""
    if report.missed:
        return f"roost rebuild --index {report.index} --chunk-size 160"
    if report.questions.sampled:
        return f"roost evaluate questions.jsonl --index {report.index}"
    return f"roost schedule SOURCE --index {report.index} --every 1d --questions QUESTIONS"


def after_tuning(tuning: Tuning, questions: str) -> str:
    """After a fusion was chosen, or none was kept."""
    return f"roost evaluate {shlex.quote(questions)} --index {tuning.index} --compare dense,sparse,chosen"


def after_versions(found: VersionList) -> str:
    """After the list of the versions: delete old ones, or build a new one."""
    if not found.versions:
        return FIRST_INGEST
    idle = next((each for each in found.versions if not each.live), None)
    return f"roost prune --index {idle.index} --dry-run" if idle else f"roost rebuild --index {found.versions[0].index}"


def after_rebuild(report: RebuildReport) -> str:
    """After a rebuild: the way back if the new version is live, else the way to make it live."""
    if report.promoted:
        return f"roost rollback --index {report.index}, if the new version disappoints"
    return f"roost promote {report.version} --index {report.index}, if you want it all the same"


def after_pruning(report: PruneReport) -> str:
    """After old versions were dropped, or would be."""
    return WITHOUT_DRY_RUN if report.dry_run and report.dropped else f"roost versions --index {report.index}"


def after_schedules(found: Sequence[Schedule]) -> str:
    """After the list of the schedules."""
    return f"roost schedules --run-now {found[0].name}" if found else "roost schedule ./docs --every 1h"


def after_diagnosis(found: Diagnosis) -> str:
    """After the checks of this machine."""
    return FIRST_INGEST if found.is_healthy else "mend what is marked PROBLEM, then roost doctor"
