"""The layout of the reports that people read in Prefect: one sentence, what to do, three numbers, a chart, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from roost.tasks.markdown import escaped

#: Age of the earlier report with which a page compares; if there is none as old, the oldest one.
COMPARED_AGE = timedelta(days=7)


@dataclass(frozen=True)
class Figure:
    """One number of a page.

    label: What it counts.
    value: The number.
    change: How it differs from before; empty if that is not known.
    """

    label: str
    value: str
    change: str = ""


@dataclass(frozen=True)
class PastReport:
    """The numbers of an earlier report of the same kind, by name."""

    time: datetime
    values: Mapping[str, float]


@dataclass(frozen=True)
class ReportPage:
    """A report.

    title: What ran on which index, and how it ended.
    happened: What happened, in a sentence or two; Markdown.
    to_do: What a person has to do, one item each; Markdown. Empty if nothing.
    figures: The three numbers that matter.
    chart: A picture as Markdown, or empty.
    sections: Title and Markdown of each further part; those without text are left out.
    """

    title: str
    happened: str
    to_do: Sequence[str]
    figures: Sequence[Figure]
    chart: str = ""
    sections: Sequence[tuple[str, str]] = field(default=())

    def as_markdown(self) -> str:
        """Write the page."""
        parts = [f"# {escaped(self.title)}", self.happened, "## What to do"]
        parts.append("\n".join(f"- {line}" for line in self.to_do) or "Nothing.")
        parts.append("## In numbers")
        parts.append(_figures(self.figures))
        parts += [self.chart] if self.chart else []
        for title, body in self.sections:
            parts += [f"## {title}", body] if body else []
        return "\n\n".join(parts)


def past_to_compare(past: Sequence[PastReport], now: datetime) -> PastReport | None:
    """Choose the report to compare with: the latest one that is a week old, or else the oldest one."""
    old = [each for each in past if now - each.time >= COMPARED_AGE]
    return old[-1] if old else next(iter(past), None)


def change_since(value: float, name: str, past: PastReport | None, digits: int = 0) -> str:
    """Write how a number has changed since an earlier report: `+3 since 15 Nov 04:00`."""
    if past is None or name not in past.values:
        return ""
    difference = round(value - past.values[name], digits)
    return f"{f'{difference:+,.{digits}f}' if difference else 'as'} {'since' if difference else 'on'} {day(past.time)}"


def day(time: datetime) -> str:
    """Write a time for a person, in UTC: `15 Nov 04:00`."""
    return f"{time.astimezone(UTC):%d %b %H:%M}"


def seconds_text(seconds: float) -> str:
    """Write a duration: `4 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def counted(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun: `1 document`, `3 documents`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _figures(figures: Sequence[Figure]) -> str:
    """Write the numbers side by side, under their labels."""
    rows = [
        [escaped(each.label) for each in figures],
        [":-:"] * len(figures),
        [f"**{escaped(each.value)}**" for each in figures],
    ]
    if any(each.change for each in figures):
        rows.append([escaped(each.change) for each in figures])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
