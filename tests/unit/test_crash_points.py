"""Faults that tests inject: honoured below pytest only."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from roost.tasks.crash_points import utc_now


def shift(monkeypatch: pytest.MonkeyPatch, seconds: str) -> float:
    """Ask for a shifted clock: the seconds by which it is shifted."""
    monkeypatch.setenv("PYTEST_ROOST_CLOCK_SHIFT_S", seconds)
    return (utc_now() - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("seconds", ["3600", "-90.5"])
def test_a_test_shifts_the_clock_of_a_run_in_both_directions(seconds, monkeypatch):
    assert shift(monkeypatch, seconds) == pytest.approx(float(seconds), abs=5)


def test_outside_pytest_the_clock_cannot_be_shifted(monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION")
    assert shift(monkeypatch, "3600") == pytest.approx(0, abs=5)
