"""In a process that exists for one run, what the imports made is left out of collections of garbage."""

from __future__ import annotations

import gc
import sys
from types import ModuleType, SimpleNamespace

import pytest

from roost.flows.running.garbage import leave_out_imports


@pytest.mark.parametrize(("program", "frozen"), [("prefect.engine", True), ("a_program", False), (None, False)])
def test_only_the_process_of_one_run_leaves_out_what_there_is(program, frozen, monkeypatch):
    main = ModuleType("__main__")
    main.__spec__ = program and SimpleNamespace(name=program)
    monkeypatch.setitem(sys.modules, "__main__", main)
    before = gc.get_freeze_count()
    gc.unfreeze()
    try:
        leave_out_imports()
        assert (gc.get_freeze_count() > 0) is frozen
    finally:
        gc.unfreeze()
        if before:
            gc.freeze()
