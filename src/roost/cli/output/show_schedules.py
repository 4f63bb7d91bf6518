"""The output of `roost schedule` and `roost schedules`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich import box
from rich.table import Table

from roost.cli.output.console import out, shortened

if TYPE_CHECKING:
    from roost.deployments.schedule_listing import Schedule
    from roost.deployments.schedules import Scheduled
    from roost.flows.parameters import IngestEvaluation

_MAX_SOURCES_CHARACTERS = 60


def show_scheduled(done: Scheduled, evaluation: IngestEvaluation, access_command: str) -> None:
    """Say what the schedule does, when it runs next, what was kept or replaced, and where to see it.

    Args:
        done: What was done.
        evaluation: What follows each run.
        access_command: Gives this shell the addresses of the servers that run it; empty if it has them.
    """
    found = done.schedule
    _line(f"{found.name}: {'created' if done.created else 'updated'}, {', '.join(found.times)}")
    _line(f"  sources     {', '.join(found.sources)}")
    _line(f"  index       {found.index}")
    _line(f"  evaluation  {_evaluation(evaluation) if done.evaluated else 'none: `roost deploy evaluation` adds it'}")
    _line(f"  next run    {_next_run(found)}")
    if found.url:
        _line(f"  in the UI   {found.url}")
    for change in done.deployed.conflicts:
        _line(f"  replaced    {change.field}, which was {_value(change.server)} on the server")
    if done.deployed.kept:
        kept = ", ".join(done.deployed.kept)
        _line(f"  kept        as set on the server: {kept}; --overwrite takes what the command says")
    if access_command:
        _line(f"  status      {access_command} && roost status --index {found.index}")
    _line(f"Run it now: roost schedules --run-now {found.name}", style="dim")


def show_schedules(found: Sequence[Schedule]) -> None:
    """Show schedules as a table, then the last runs that did not complete."""
    if not found:
        out.print("no schedule: create one with roost schedule")
        return
    table = Table("name", "index", "sources", "runs", "next run (UTC)", "last run (UTC)", box=box.SIMPLE)
    for each in found:
        planned = "paused" if each.paused else minute(each.next_run)
        last = f"{each.last_run.state} {minute(each.last_run.ended or each.last_run.started)}" if each.last_run else ""
        sources = shortened(", ".join(each.sources), _MAX_SOURCES_CHARACTERS)
        table.add_row(each.name, each.index, sources, ", ".join(each.times), planned, last)
    out.print_table(table)
    for each in found:
        if each.last_run and each.last_run.state not in ("Completed", "Running", "Pending"):
            _line(f"{each.name}: {each.last_run.state}: {shortened(each.last_run.message)}", style="dim")


def show_change(changed: Schedule, action: str) -> None:
    """Say what happened to a schedule."""
    if action == "remove":
        _line(f"{changed.name}: removed; the index {changed.index} stays (`roost delete {changed.index}` deletes it)")
    elif action == "pause":
        _line(f"{changed.name}: paused; `roost schedules --resume {changed.name}` continues")
    else:
        _line(f"{changed.name}: resumed, next run {_next_run(changed)}")


def show_run(name: str, url: str | None) -> None:
    """Say where a run that was started can be seen."""
    _line(f"{name}: a run was started{f': {url}' if url else ''}")


def minute(time: str | None) -> str:
    """Shorten an ISO time to minutes; empty for None."""
    return (time or "")[:16].replace("T", " ")


def _next_run(found: Schedule) -> str:
    if found.paused:
        return f"none: it is paused; `roost schedules --resume {found.name}` continues"
    if not found.next_run:
        return "not planned yet"
    time = datetime.fromisoformat(found.next_run)
    local = time.astimezone(ZoneInfo(found.timezone))
    return f"{local:%Y-%m-%d %H:%M} {found.timezone} (in {duration((time - datetime.now(UTC)).total_seconds())})"


def duration(seconds: float) -> str:
    """Describe a time span in its two largest units: `3 h 20 min`."""
    minutes = max(0, round(seconds / 60))
    days, hours = divmod(minutes, 1440)[0], minutes % 1440 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _evaluation(evaluation: IngestEvaluation) -> str:
    questions = evaluation.questions or f"{evaluation.sample} sentences sampled from the index"
    minimum = [f"{each.measure} at least {each.value:g}" for each in evaluation.thresholds]
    drop = [f"nDCG@10 may drop by {evaluation.max_drop:g}"] if evaluation.max_drop is not None else []
    return f"after each run: {'; '.join([questions, *minimum, *drop])}"


def _value(value: object) -> str:
    return shortened(json.dumps(value, ensure_ascii=False))


def _line(text: str, style: str = "") -> None:
    out.print(text, style=style or None, soft_wrap=True)
