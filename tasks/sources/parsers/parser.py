"""The protocols of a parser, and the record of which the built-in parsers are made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Protocol, runtime_checkable

from roost.tasks.sources.parsers.parsed import PageRange, Parsed


@runtime_checkable
class Parser(Protocol):
    """Turns the bytes of one format into text blocks, in a worker process with limits of time and memory.

    A parser is a module-level object of an importable module. It imports large packages in `parse`, not at the top of
    its module, and opens no file and no connection.
    """

    @property
    def name(self) -> str:
        """What it reads documents as, as in `pdf`; the ledger keeps it as the document's format."""

    @property
    def version(self) -> str:
        """Its package and version, as in `mypackage 1.2`; another version has the documents read again."""

    @property
    def suffixes(self) -> Collection[str]:
        """Suffixes of file names that it reads, in lower case, with the dot."""

    @property
    def media_types(self) -> Collection[str]:
        """MIME types that it reads: a file whose suffix is wrong is given to the parser of its content's type."""

    def parse(self, data: bytes) -> Parsed:
        """Parse a whole file, which is not empty.

        Raises:
            DocumentError: The file is damaged, encrypted or in another format.
        """


@runtime_checkable
class PagedParser(Parser, Protocol):
    """A parser that can read a range of a file's pages, so that several processes share the pages of a large file."""

    def parse_pages(self, data: bytes, pages: PageRange) -> Parsed:
        """Parse a range of a file's pages, which is empty where the file has fewer pages than there are ranges.

        Raises:
            DocumentError: As `parse`.
        """

    def join(self, ranges: Sequence[Parsed]) -> Parsed:
        """Make a document of the page ranges of one file, in page order: of all of them, or of the first ones.

        Raises:
            DocumentError: None of the pages can be parsed.
        """


@runtime_checkable
class ParserWithStandIn(Parser, Protocol):
    """A parser whose native code may crash, and with it the process."""

    @property
    def stand_in(self) -> Parser:
        """Reads the files at which it crashed, in a new process; of the same kinds as the parser itself."""


@dataclass(frozen=True)
class FunctionParser:
    """A parser made of a function.

    revision: `roost-NAME N`, to be raised when the text of unchanged files comes out differently; empty for a parser
        that adds nothing to its packages.
    packages: Installed packages whose version belongs to the parser's.
    """

    name: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    parse: Callable[[bytes], Parsed]
    revision: str = ""
    packages: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Its revision, and its packages with their versions."""
        return ", ".join(filter(None, [self.revision, *(used_package(name) for name in self.packages)]))


@cache
def used_package(name: str) -> str:
    """Name a package with its installed version, as in `pypdf 7.1.0`, or as `NAME missing`."""
    try:
        return f"{name} {package_version(name)}"
    except PackageNotFoundError:
        return f"{name} missing"
