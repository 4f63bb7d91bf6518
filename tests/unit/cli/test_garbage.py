"""Collections of garbage are rare while a command imports, and usual afterwards, without what the imports made."""

from __future__ import annotations

import gc

from roost.cli.garbage import collect_as_usual, collect_rarely


def test_collections_are_rare_until_the_imports_are_done() -> None:
    collect_as_usual()  # a test may have run a command in this process
    usual = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold()[0] > 10 * usual[0]
        assert gc.isenabled()
        collect_as_usual()
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
