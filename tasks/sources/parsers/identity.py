"""What the ledger keeps of the parser that read a document, and whether that parser would read it again as it is.

The text is the parser's version, then, after semicolons, the packages that this document needed beside it, and `not`
and the version of the parser of the file's suffix where the content had the file given to another parser.
"""

from __future__ import annotations

from roost.tasks.sources.parsers.parsed import ParserId
from roost.tasks.sources.parsers.parser import Parser, used_package
from roost.tasks.sources.parsers.registry import registry

_SEPARATOR = "; "
_INSTEAD = "not "


def identity(parser: Parser, name: str, used: tuple[str, ...] = ()) -> ParserId:
    """Give what the ledger keeps.

    Args:
        parser: The parser that read the file.
        name: Name of the file.
        used: Packages that it needed for the file, as in `Parsed.used`.
    """
    of_suffix = registry().parser_for(name)
    instead = [] if parser is of_suffix else [f"{_INSTEAD}{of_suffix.version}"]
    packages = [used_package(package) for package in sorted(set(used))]
    return ParserId(parser.name, _SEPARATOR.join([parser.version, *packages, *instead]))


def is_current(recorded: str, name: str) -> bool:
    """Whether a document would be read by the same version of the same parser and packages.

    While a parser cannot be loaded, what no loaded one has read stays as it is.

    Args:
        recorded: What the ledger keeps; empty for a document that was read before ledgers kept it: its text has not
            changed where a parser of Roost still is in its first revision.
        name: Name of the file; its suffix is enough.
    """
    parser = registry().parser_for(name)
    version, *others = recorded.split(_SEPARATOR)
    if not version:
        return parser.version == f"roost-{parser.name} 1"
    is_same = parser.version == version or _is_of_missing(version)
    for other in others:
        if other.startswith(_INSTEAD):
            known = {one.parser.version for one in registry().parsers}
            is_same = other == f"{_INSTEAD}{parser.version}" and version in known
        elif other != used_package(other.rpartition(" ")[0]):
            return False
    return is_same


def _is_of_missing(version: str) -> bool:
    """Whether a version may be that of a parser which cannot be loaded: no loaded one has its package."""
    found = registry()
    return bool(found.problems) and version.split()[0] not in {one.parser.version.split()[0] for one in found.parsers}
