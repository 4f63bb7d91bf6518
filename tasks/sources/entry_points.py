"""Entry points of connectors and parsers: the package that registered one."""

from __future__ import annotations

from importlib.metadata import EntryPoint


def package_of(entry: EntryPoint) -> str:
    """Name the package that an entry point comes from: `roost` for the built-in ones."""
    return entry.dist.name if entry.dist else "roost"
