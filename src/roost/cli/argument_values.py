"""Parsing of argument and option values: NAME=PLACE, MEASURE=VALUE, dates, lists."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from roost.tasks.errors import UsageError

if TYPE_CHECKING:
    from roost.tasks.evaluation.thresholds import Threshold


def split_name(source: str) -> tuple[str, str]:
    """Split NAME=PLACE; a place that exists with a `=` in it stays whole."""
    name, equals, place = source.partition("=")
    if not equals or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or Path(source).exists():
        return "", source
    return name, place


def parse_threshold(text: str) -> Threshold:
    """Read MEASURE=VALUE."""
    from roost.tasks.evaluation.thresholds import Threshold

    name, _, value = text.rpartition("=")
    try:
        return Threshold(measure=name.strip(), value=float(value))
    except ValueError:
        raise UsageError(f"--threshold {text}: write a measure and its minimum value, as in nDCG@10=0.60") from None


def parse_time(text: str, option: str, *, end: bool = False) -> datetime | None:
    """Read a date or a time; a date as an end stands for the whole day."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: write it as 2026-11-20, or 2026-11-20T08:00") from None
    is_day = "T" not in text and " " not in text
    return (time if time.tzinfo else time.replace(tzinfo=UTC)) + timedelta(days=end and is_day)


def read_uris(place: str) -> list[str]:
    """Read the names of documents, one a line."""
    if not place:
        return []
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--uris {place}: {error}") from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise UsageError(f"--uris {place}: it names no document")
    return found


def parse_counts(text: str) -> list[int]:
    """Parse whole numbers with commas between them."""
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise UsageError(f"--counts {text}: write whole numbers with commas between, as in 10,100") from None
