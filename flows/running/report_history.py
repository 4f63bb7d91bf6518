"""The numbers of earlier reports, kept with the latest artifact of a report: for comparisons and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from roost.tasks.report_page import PastReport

#: Latest reports that are all kept; of older ones the last of each day, for a number of days.
MAX_LATEST, MAX_DAYS = 12, 30


def encoded(past: Sequence[PastReport]) -> dict[str, str]:
    """Write reports as an artifact's metadata: its time -> `name=value` for each number."""
    return {
        each.time.astimezone(UTC).isoformat(timespec="seconds"): " ".join(
            f"{name}={value:.10g}" for name, value in each.values.items()
        )
        for each in thinned(past)
    }


def decoded(metadata: Mapping[str, str]) -> list[PastReport]:
    """Read what `encoded` wrote, oldest first; what anything else wrote is left out."""
    found = []
    for time, text in metadata.items():
        with suppress(ValueError):
            pairs = (pair.partition("=") for pair in text.split())
            values = {name: float(value) for name, _, value in pairs}
            found.append(PastReport(datetime.fromisoformat(time).astimezone(UTC), values))
    return sorted(found, key=lambda each: each.time)


def thinned(past: Sequence[PastReport]) -> list[PastReport]:
    """Keep the latest reports, and of older ones the last of each day.

    Args:
        past: Reports, oldest first.
    """
    older, latest = past[:-MAX_LATEST], past[-MAX_LATEST:]
    daily = {each.time.astimezone(UTC).date(): each for each in older}
    return [*list(daily.values())[-MAX_DAYS:], *latest]
