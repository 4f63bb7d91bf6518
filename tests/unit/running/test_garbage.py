"""Collections of garbage are rare while a process imports, and afterwards leave out what the imports made."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from roost.flows.running.garbage import collect_rarely, leave_out_imports, leave_out_imports_of_run


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The collector as Python starts it; afterwards as it was."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    if frozen:
        gc.freeze()


def test_collections_are_rare_until_the_imports_are_done() -> None:
    collect_rarely()
    assert gc.isenabled()
    rare = gc.get_threshold()[0]
    assert rare > 10 * 700
    assert gc.get_freeze_count() == 0
    leave_out_imports()
    assert gc.get_threshold()[0] < rare
    assert gc.get_freeze_count() > 1_000


@pytest.mark.parametrize(("program", "frozen"), [("prefect.engine", True), ("a_program", False), (None, False)])
def test_only_the_process_of_one_run_leaves_out_what_there_is(
    program: str | None, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    main.__spec__ = program and SimpleNamespace(name=program)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "__main__", main)
    leave_out_imports_of_run()
    assert (gc.get_freeze_count() > 0) is frozen
