"""Collections of garbage while a command starts: imports make objects that stay, and collections find nothing there."""

from __future__ import annotations

import gc

_USUAL = gc.get_threshold()
#: New objects between two collections while a command imports its libraries.
_WHILE_IMPORTING = 50_000


def collect_rarely() -> None:
    """Collect seldom from now on: a tenth of the time of the imports, which make hundreds of thousands of objects."""
    gc.set_threshold(_WHILE_IMPORTING, *_USUAL[1:])


def collect_as_usual() -> None:
    """Collect as usual from now on, except what there is already."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
