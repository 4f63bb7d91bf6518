"""Collections of garbage in a process that Prefect has started for one run.

A collection that looks through all objects of the imports takes 0.15 s, in which the event loop stands still, and finds
nothing. A command leaves them out by itself (`roost.cli.garbage`); a program that calls a flow keeps its own way.
"""

from __future__ import annotations

import gc
import sys

#: The program that a worker of Prefect starts for a run.
_RUN_PROGRAM = "prefect.engine"


def leave_out_imports() -> None:
    """Leave what there is now out of later collections, in a process that exists for one run; elsewhere do nothing."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == _RUN_PROGRAM:
        gc.freeze()
