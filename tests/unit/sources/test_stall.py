"""A place that hangs ends the listing with its name; one that is slow but gets on does not."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from roost.tasks.errors import RunError
from roost.tasks.sources import stall
from roost.tasks.sources.stall import call_watched, note_progress


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "STALL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(stall, "POLL_INTERVAL_S", 0.02)


def test_a_place_that_hangs_is_named_and_does_not_keep_the_process_from_ending() -> None:
    released = threading.Event()

    def walk() -> None:
        note_progress("/mnt/share/deep")
        released.wait(60)

    with pytest.raises(RunError, match=r"listing /mnt/share made no progress for .* s, last at /mnt/share/deep"):
        asyncio.run(call_watched("listing /mnt/share", walk))
    [thread] = [one for one in threading.enumerate() if one.name == "listing /mnt/share"]
    assert thread.daemon
    released.set()
    thread.join()


def test_a_slow_place_that_gets_on_is_waited_for() -> None:
    def walk() -> str:
        for number in range(8):
            note_progress(f"/mnt/share/{number}")
            time.sleep(0.1)
        return "all"

    assert asyncio.run(call_watched("listing /mnt/share", walk)) == "all"


def test_an_error_of_the_place_is_raised_as_it_is() -> None:
    def walk() -> None:
        raise PermissionError("not yours")

    with pytest.raises(PermissionError, match="not yours"):
        asyncio.run(call_watched("listing /mnt/share", walk))
