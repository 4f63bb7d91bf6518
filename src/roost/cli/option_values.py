"""Types of option and argument values: NAME=PLACE, MEASURE=VALUE, times, lists, files of names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from roost.tasks.evaluation.thresholds import Threshold
    from roost.tasks.sources.source import Source


def split_source(argument: str) -> tuple[str, str]:
    """Split NAME=PLACE into name and place. The name is empty if there is none, or if that place exists as a whole."""
    name, equals, place = argument.partition("=")
    is_name = name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    return (name, place) if equals and is_name and not Path(argument).exists() else ("", argument)


def make_sources(arguments: Iterable[str], **options: Any) -> list[Source]:
    """Make one source of each argument PLACE or NAME=PLACE.

    Args:
        arguments: Arguments of the command.
        options: Further fields of `Source`; all sources get the same.
    """
    from roost.tasks.sources.source import Source

    return [Source(uri=place, name=name, **options) for name, place in map(split_source, arguments)]


class ThresholdValue(click.ParamType["Threshold"]):
    """MEASURE=VALUE, as in `nDCG@10=0.60`."""

    name = "threshold"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Threshold:
        """Parse one threshold."""
        from roost.tasks.evaluation.thresholds import Threshold

        measure, _, minimum = value.rpartition("=")
        try:
            return Threshold(measure=measure.strip(), value=float(minimum))
        except ValueError:
            self.fail(f"{value!r}: write a measure and its minimum value, as in nDCG@10=0.60", param, ctx)


class TimeValue(click.ParamType[datetime]):
    """A date or a time, in UTC unless it has a zone; a date as an end includes that day."""

    name = "time"

    def __init__(self, *, is_end: bool = False) -> None:
        self._is_end = is_end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse one date or time."""
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: write it as 2026-11-20 or 2026-11-20T08:00", param, ctx)
        is_date = "T" not in value and " " not in value
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return time + timedelta(days=1) if self._is_end and is_date else time


class CountsValue(click.ParamType[list[int]]):
    """Whole numbers with commas between them, as in `10,100`."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Parse the numbers."""
        try:
            return [int(number) for number in value.split(",") if number.strip()]
        except ValueError:
            self.fail(f"{value!r}: write whole numbers with commas between them, as in 10,100", param, ctx)


class NamesValue(click.ParamType[list[str]]):
    """Names with commas between them, as in `dense,rrf`."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split the names."""
        return [name.strip() for name in value.split(",") if name.strip()]


class NamesFile(click.ParamType[list[str]]):
    """A UTF-8 file with one name a line; `-` is standard input."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Read the names."""
        try:
            text = sys.stdin.read() if value == "-" else Path(value).read_text("utf-8")
        except OSError as error:
            self.fail(f"{value}: {error.strerror}; name a file with one document a line", param, ctx)
        except UnicodeDecodeError as error:
            self.fail(f"{value}: {error}", param, ctx)
        names = [line.strip() for line in text.splitlines() if line.strip()]
        if not names:
            self.fail(f"{value}: the file names no document", param, ctx)
        return names
