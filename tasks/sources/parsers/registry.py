"""The registry of parsers: the built-in ones, and those of installed packages, by suffix and by MIME type.

All are named by entry points of the group `roost.parsers`. Those of the built-in parsers stand here and not in the
package's metadata, which in an editable installation is as old as the installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePosixPath

from roost.tasks.errors import ConfigurationError
from roost.tasks.sources.entry_points import package_of
from roost.tasks.sources.media import MEDIA_SUFFIXES
from roost.tasks.sources.parsers.parsed import first_line
from roost.tasks.sources.parsers.parser import Parser
from roost.tasks.sources.parsers.text import PARSER as TEXT_PARSER

GROUP = "roost.parsers"
_ROOM = "roost.tasks.sources.parsers"
#: One line a format: the object that is its parser.
BUILT_IN = tuple(
    EntryPoint(name, f"{_ROOM}.{module}:PARSER", GROUP)
    for name, module in [
        *((name, name) for name in ("markdown", "html", "docx", "pptx", "xlsx", "epub", "ipynb", "mail", "text")),
        ("pdf", "pdf.parser"),
    ]
)


@dataclass(frozen=True)
class Registered:
    """A parser and the installed package that it comes from."""

    parser: Parser
    package: str


@dataclass(frozen=True)
class Registry:
    """All parsers, and which of them reads a suffix or a MIME type.

    problems: A line for each installed parser that cannot be loaded: its files are read as if it were not installed.
    """

    parsers: tuple[Registered, ...]
    by_suffix: dict[str, Parser]
    by_media_type: dict[str, Parser]
    problems: tuple[str, ...] = ()

    def parser_for(self, name: str) -> Parser:
        """Choose the parser by a file's suffix: that of plain text where no parser names the suffix."""
        return self.by_suffix.get(suffix_of(name), TEXT_PARSER)


@cache
def registry() -> Registry:
    """Load all parsers. A parser of an installed package takes the place of a built-in one with the same suffix.

    Raises:
        ConfigurationError: Two packages read the same suffix.
    """
    parsers, problems = [], []
    for entry in installed_entries():
        package = package_of(entry)
        try:
            parsers.append(Registered(load_parser(entry), package))
        except ConfigurationError as error:
            problems.append(str(error))
    owners: dict[str, str] = {}
    by_suffix: dict[str, Parser] = {}
    by_media_type: dict[str, Parser] = {}
    for one in parsers:
        for suffix in one.parser.suffixes:
            other = owners.get(suffix, "roost")
            if other not in ("roost", one.package):
                raise ConfigurationError(
                    f"the packages {other} and {one.package} both have a parser for {suffix}: uninstall one of them"
                )
            owners[suffix] = one.package
            by_suffix[suffix] = one.parser
        by_media_type |= dict.fromkeys(one.parser.media_types, one.parser)
    return Registry(tuple(parsers), by_suffix, by_media_type, tuple(problems))


def installed_entries() -> list[EntryPoint]:
    """List the entry points of parsers: the built-in ones first, then those of installed packages by package."""
    return [*BUILT_IN, *sorted(entry_points(group=GROUP), key=package_of)]


def is_media(name: str) -> bool:
    """Whether a file has the suffix of a format without text, and no parser reads it."""
    suffix = suffix_of(name)
    return suffix in MEDIA_SUFFIXES and suffix not in registry().by_suffix


def suffix_of(name: str) -> str:
    """Give a file name's suffix in lower case, with the dot; empty where it has none."""
    return PurePosixPath(name).suffix.lower()


def load_parser(entry: EntryPoint) -> Parser:
    """Load one parser.

    Raises:
        ConfigurationError: It cannot be imported, or is no parser; one line.
    """
    what = f"parser {entry.name!r} of the package {package_of(entry)}"
    try:
        parser = entry.load()
    except Exception as error:
        raise ConfigurationError(
            f"{what} cannot be loaded ({type(error).__name__}: {first_line(error)}): upgrade or uninstall the package"
        ) from error
    if not isinstance(parser, Parser):
        raise ConfigurationError(f"{what} is no parser: {entry.value} lacks a part of roost.parsers.Parser")
    return parser
