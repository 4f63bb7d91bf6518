"""The section of prefect.yaml for one's own sources: an ingest with a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from roost.deployments.schedule_times import ScheduleTimes
from roost.flows.parameters import IngestRequest
from roost.flows.running.artifact_key import artifact_key
from roost.tasks.errors import SourceError, UsageError
from roost.tasks.sources.source import absolute_uri, check_names, is_missing

ENTRYPOINT = "roost.flows.ingest.ingest"
#: Characters that Prefect refuses in the name of a deployment.
_BANNED_CHARACTERS = "/%&<>"
_MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class ScheduleRequest:
    """What a person wants to have done on a schedule.

    name: Name of the deployment.
    request: Parameters of its runs.
    times: When it runs.
    pool: Work pool that runs it.
    """

    name: str
    request: IngestRequest
    times: ScheduleTimes
    pool: str


def check_name(name: str) -> None:
    """Refuse a name that a deployment cannot have.

    Raises:
        UsageError: The name is empty, too long, or has a character that Prefect refuses.
    """
    wrong = next((each for each in name if each in _BANNED_CHARACTERS or not each.isprintable()), "")
    if wrong or not name.strip() or len(name) > _MAX_NAME_CHARACTERS:
        raise UsageError(
            f"{name!r} cannot be the name of a schedule: use 1 to {_MAX_NAME_CHARACTERS} characters, none of "
            f"{' '.join(_BANNED_CHARACTERS)}"
        )


def resolve_places(request: IngestRequest) -> tuple[IngestRequest, list[str]]:
    """Make the places of a request absolute, because a worker has another folder.

    A relative path is meant in this folder, so it must exist. An absolute one may exist on the worker's machine only.

    Returns:
        The request, and one warning for each place that does not exist on this machine.

    Raises:
        SourceError: A relative path does not exist here, or two sources have one name.
    """
    sources = [source.from_anywhere() for source in request.sources]
    check_names(sources)
    missing = [source.uri for source in request.sources if is_missing(source)]
    files = dict.fromkeys(source.metadata.file for source in request.sources)
    missing += [file for file in files if file and "://" not in file and not Path(file).expanduser().exists()]
    evaluation = request.evaluation
    if evaluation.questions:
        if "://" not in evaluation.questions and not Path(evaluation.questions).expanduser().exists():
            missing.append(evaluation.questions)
        evaluation = evaluation.model_copy(update={"questions": absolute_uri(evaluation.questions)})
    for place in missing:
        if not Path(place).expanduser().is_absolute():
            raise SourceError(f"no such file or folder: {place}")
    warnings = [f"{place} does not exist on this machine; the worker's machine must have it" for place in missing]
    return request.model_copy(update={"sources": sources, "evaluation": evaluation}), warnings


def make_section(wanted: ScheduleRequest) -> dict[str, Any]:
    """Make the section: what `deploy_section` and `prefect deploy` read. Only what is not a default is written."""
    request = wanted.request.model_dump(mode="json", exclude_defaults=True) | {"index": wanted.request.index}
    return {
        "name": wanted.name,
        "entrypoint": ENTRYPOINT,
        "description": _description(wanted.request.index),
        "tags": ["roost"],
        "parameters": {"request": request},
        "schedules": [{**wanted.times.as_prefect(), "active": True}],
        # A run that is due while the last one still works is cancelled: the next one finds what has changed since.
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "work_pool": {"name": wanted.pool},
        "pull": [{"roost.deployments.prefect_setup.find_code": {}}],
    }


def _description(index: str) -> str:
    """Write the text that the UI shows beside the runs; its links are relative to the page of a deployment."""
    key = artifact_key(index)
    return (
        f"Bring the index {index} in step with its sources. What each run did, what failed and what to do: "
        f"[ingest reports](../../artifacts/key/ingest-{key}). Whether the answers are as good as before: "
        f"[evaluations](../../artifacts/key/evaluation-{key}). Created by `roost schedule`; what is changed here stays."
    )


def as_yaml(section: dict[str, Any]) -> str:
    """Write the section as a file that `prefect deploy` reads."""
    return yaml.safe_dump({"deployments": [section]}, sort_keys=False, allow_unicode=True, width=110)
