"""Which connectors and parsers there are, from which packages, and which of them cannot be loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import Any

from roost.tasks.errors import ConfigurationError
from roost.tasks.sources.connectors.registry import load_connector
from roost.tasks.sources.connectors.schemes import installed_entries
from roost.tasks.sources.entry_points import package_of
from roost.tasks.sources.parsers.registry import installed_entries as parser_entries
from roost.tasks.sources.parsers.registry import load_parser


@dataclass(frozen=True)
class Plugin:
    """A connector or a parser.

    kind: `source` or `parser`.
    name: Of its entry point; of a connector, the scheme of its sources' URIs.
    package: The installed package that registered it; `roost` for the built-in ones.
    problem: Why it cannot be loaded, in one line; empty where it can.
    """

    kind: str
    name: str
    package: str
    problem: str


@dataclass(frozen=True)
class Plugins:
    """All connectors and parsers."""

    plugins: tuple[Plugin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the fields as a JSON object."""
        return asdict(self)


def list_plugins() -> Plugins:
    """Try to load each connector and each parser: sources first, in the order of their names."""
    found = [_look("source", entry) for entry in installed_entries()]
    found += [_look("parser", entry) for entry in parser_entries()]
    return Plugins(tuple(sorted(found, key=lambda one: (one.kind != "source", one.name, one.package))))


def _look(kind: str, entry: EntryPoint) -> Plugin:
    package = package_of(entry)
    try:
        if kind == "source":
            load_connector(entry)
        else:
            load_parser(entry)
    except ConfigurationError as error:
        return Plugin(kind, entry.name, package, str(error))
    return Plugin(kind, entry.name, package, "")
