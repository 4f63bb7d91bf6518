"""The numbers of earlier reports survive being kept with an artifact, and stay few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from roost.flows.running.report_history import MAX_DAYS, MAX_LATEST, decoded, encoded
from roost.tasks.report_page import PastReport

NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)


def hourly(count: int) -> list[PastReport]:
    return [PastReport(NOW - timedelta(hours=count - 1 - each), {"documents": float(each)}) for each in range(count)]


def test_what_is_kept_is_read_back_oldest_first() -> None:
    past = [PastReport(NOW - timedelta(days=1), {"documents": 1200000.0, "seconds": 2.5}), PastReport(NOW, {})]
    assert decoded(dict(reversed(encoded(past).items()))) == past


def test_the_latest_and_one_of_each_earlier_day_are_kept_and_no_more() -> None:
    kept = decoded(encoded(hourly(24 * 60)))
    assert kept[-MAX_LATEST:] == hourly(24 * 60)[-MAX_LATEST:]
    assert len(kept) == MAX_LATEST + MAX_DAYS
    days = [each.time.date() for each in kept[:-MAX_LATEST]]
    assert len({*days}) == len(days)


def test_what_something_else_wrote_is_left_out() -> None:
    assert decoded({"note": "x", NOW.isoformat(): "documents=many", "2026-11-01T00:00:00+00:00": "documents=3"}) == [
        PastReport(datetime(2026, 11, 1, tzinfo=UTC), {"documents": 3.0})
    ]
