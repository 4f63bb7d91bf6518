"""When a schedule runs: an interval or a cron expression in a time zone, checked and described."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import available_timezones

from roost.tasks.errors import UsageError, did_you_mean

#: Units of an interval, with what else people write for them.
_UNITS = {
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
}
#: Longest interval: Prefect plans the runs of the next hundred days.
_MAX_DAYS = 90
#: Intervals are counted from this time, a Monday's midnight: hours begin on the hour, weeks on Mondays. In UTC, because
#: Prefect 3.8 runs a daily interval an hour earlier or later when its zone's clocks differ from those at the start.
_ANCHOR = "2024-01-01T00:00:00Z"
_CRON_FIELDS = 5


@dataclass(frozen=True)
class ScheduleTimes:
    """When a schedule runs.

    every: Interval between runs; None if a cron expression says when.
    cron: Cron expression with five fields, or an alias such as @daily; empty if there is an interval.
    timezone: IANA name of a time zone, for the cron expression.
    """

    every: timedelta | None
    cron: str
    timezone: str

    def as_prefect(self) -> dict[str, Any]:
        """Give the fields of a schedule in prefect.yaml."""
        if self.every is None:
            return {"cron": self.cron, "timezone": self.timezone}
        return {"interval": int(self.every.total_seconds()), "anchor_date": _ANCHOR, "timezone": "UTC"}


def parse_times(every: str | None, cron: str | None, timezone: str | None) -> ScheduleTimes:
    """Check what a person wrote.

    Args:
        every: A number and a unit: `30min`, `6h`, `1d`.
        cron: A cron expression.
        timezone: Name of a time zone, for `cron`; UTC by default.

    Raises:
        UsageError: Neither or both of `every` and `cron` are given, or one of the values is wrong.
    """
    if every is not None and cron is not None:
        raise UsageError("--every and --cron are both given: a schedule has one of them")
    if timezone is not None:
        _check_timezone(timezone)
    if cron is not None:
        return ScheduleTimes(None, _parse_cron(cron), timezone or "UTC")
    if every is None:
        raise UsageError("no time is given: say --every 1h, or --cron '0 2 * * *' for every night at two")
    if timezone is not None:
        raise UsageError(
            "--timezone goes with --cron: an interval is the same in every time zone; for a time of day, say "
            "--cron '0 2 * * *'"
        )
    return ScheduleTimes(_parse_interval(every), "", "UTC")


def describe_times(times: dict[str, Any]) -> str:
    """Describe a schedule of a server in a few words: `every 6 h`, `cron 0 2 * * *, Europe/Berlin`."""
    zone = times.get("timezone") or "UTC"
    if "interval" in times:
        return f"every {describe_interval(timedelta(seconds=times['interval']))}"
    if "cron" in times:
        return f"cron {times['cron']}, {zone}"
    return f"rrule {times['rrule']}" if "rrule" in times else "none"


def describe_interval(interval: timedelta) -> str:
    """Write an interval in its largest whole unit: `90 min`, `6 h`, `1 d`."""
    seconds = int(interval.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _parse_interval(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})\s*([a-z]+)", text.strip().lower())
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise UsageError(f"--every {text!r}: write a number and a unit (min, h, d, w), as in 30min, 6h or 1d")
    interval = int(found[1]) * unit
    if not timedelta(minutes=1) <= interval <= timedelta(days=_MAX_DAYS):
        raise UsageError(f"--every {text!r}: the interval is from 1min to {_MAX_DAYS}d")
    return interval


def _parse_cron(text: str) -> str:
    # The code by which Prefect 3.8 reads cron expressions. Its own check accepts 30 February, at which its scheduler
    # then fails.
    library: Any = import_module("prefect._vendor.croniter")
    expression = " ".join(text.split())
    example = "write five fields (minute, hour, day of the month, month, day of the week), as in '0 2 * * *'"
    is_short = len(expression.split()) != _CRON_FIELDS and not expression.startswith("@")
    if is_short or not library.croniter.is_valid(expression):
        raise UsageError(f"--cron {text!r} is no cron expression: {example}")
    try:
        library.croniter(expression, datetime.now(UTC)).get_next()
    except library.CroniterBadDateError:
        raise UsageError(f"--cron {text!r} names no date that ever comes: {example}") from None
    return expression


def _check_timezone(name: str) -> None:
    known = available_timezones()
    if name in known:
        return
    hint = did_you_mean(name, known)
    raise UsageError(f"--timezone {name!r}: no such time zone; {hint or 'write it as in Europe/Berlin or UTC'}")
