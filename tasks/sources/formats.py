"""Which formats are read, by which parser, and what an extra would add."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from roost.tasks.sources.parsers.registry import registry
from roost.tasks.sources.table_uris import MAIL_SUFFIX, MAILBOX_SUFFIX, TABLE_SUFFIXES


@dataclass(frozen=True)
class Format:
    """A format that is read.

    name: What the ledger calls it.
    suffixes: Of file names; those that a parser of another package reads instead are left out.
    parser: The parser's package and version.
    package: The installed package that registered the parser.
    """

    name: str
    suffixes: tuple[str, ...]
    parser: str
    package: str


@dataclass(frozen=True)
class Extra:
    """What an extra of Roost adds to the formats.

    command: Installs it.
    """

    name: str
    adds: str
    is_installed: bool
    command: str


@dataclass(frozen=True)
class Formats:
    """All formats, and the extras that concern formats."""

    formats: tuple[Format, ...]
    extras: tuple[Extra, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the fields as a JSON object."""
        return asdict(self)


#: (extra, a module that it installs, what it adds).
_EXTRAS = (("ocr", "rapidocr", "text of scanned pages in PDFs"),)


def list_formats() -> Formats:
    """List the formats in the order of their names; plain text, which reads every other suffix, is the last.

    Raises:
        ConfigurationError: Two packages have a parser for one suffix.
    """
    found = registry()
    formats = []
    for one in found.parsers:
        suffixes = tuple(suffix for suffix in one.parser.suffixes if found.by_suffix[suffix] is one.parser)
        formats.append(Format(one.parser.name, suffixes, one.parser.version, one.package))
    formats.append(Format("table", TABLE_SUFFIXES, "polars", "roost"))
    formats.append(Format("mailbox", (MAILBOX_SUFFIX,), found.parser_for(f"a{MAIL_SUFFIX}").version, "roost"))
    formats.sort(key=lambda one: (one.name == "text", one.name))
    extras = (
        Extra(name, adds, find_spec(module) is not None, f"pip install 'roost[{name}]'")
        for name, module, adds in _EXTRAS
    )
    return Formats(tuple(formats), tuple(extras))
