"""When Python collects garbage: a collection stops all threads, and with them the event loop.

Imports make hundreds of thousands of objects that stay. A collection that looks through them takes 0.15 s and finds
nothing.
"""

from __future__ import annotations

import gc
import sys

#: New objects between two collections while a command imports its libraries.
_WHILE_IMPORTING = 50_000
#: The same afterwards. With Python's 700 a rebuild has ten times as many collections of up to 50 ms each.
_WHILE_RUNNING = 10_000
#: The program that a worker of Prefect starts for a run.
_RUN_PROGRAM = "prefect.engine"


def collect_rarely() -> None:
    """Collect seldom from now on: a tenth of the time of the imports."""
    gc.set_threshold(_WHILE_IMPORTING, *gc.get_threshold()[1:])


def leave_out_imports() -> None:
    """Leave what there is now out of later collections, and have them often enough that memory does not grow."""
    gc.freeze()
    gc.set_threshold(_WHILE_RUNNING, *gc.get_threshold()[1:])


def leave_out_imports_of_run() -> None:
    """Do so in a process that Prefect has started for one run; a program that calls a flow keeps its own way."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == _RUN_PROGRAM:
        leave_out_imports()
