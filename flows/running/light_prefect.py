"""Importing Prefect without parts that a run does not use: a fifth of the time of the import.

Prefect imports blocks that send messages, to register them, and the web framework FastAPI, for one of its functions.
A program that uses one of these later imports it then. A test fails when that no longer works.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType

_BLOCKS = ("prefect.blocks.notifications", "prefect.blocks.webhook")


def import_prefect() -> None:
    """Import what a command uses of Prefect; for processes in which no code but Roost's own runs."""
    if {"prefect", "fastapi"}.isdisjoint(sys.modules):
        _import_encoders()
        _import_without_message_blocks()


def _import_encoders() -> None:
    """Import `fastapi.encoders`, with which Prefect writes parameters as JSON, without the rest of FastAPI."""
    spec = PathFinder.find_spec("fastapi")
    package = ModuleType("fastapi")
    package.__path__ = (spec and spec.submodule_search_locations) or []
    sys.modules["fastapi"] = package
    try:
        import_module("fastapi.encoders")
    except ImportError:  # a version with other modules, imported as a whole when Prefect asks for it
        for name in [name for name in sys.modules if name.startswith("fastapi.")]:
            del sys.modules[name]
    finally:
        del sys.modules["fastapi"]


def _import_without_message_blocks() -> None:
    sys.modules |= {name: ModuleType(name) for name in _BLOCKS}
    try:
        import_module("prefect.main")
    finally:
        for name in _BLOCKS:
            del sys.modules[name]
            parent, _, attribute = name.rpartition(".")
            vars(sys.modules.get(parent, ModuleType(parent))).pop(attribute, None)
