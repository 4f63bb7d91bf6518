"""The packages that an installation of Roost consists of, as they are installed here, and their licences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Extras that users install; `dev` is for the tests.
EXTRAS = ("local", "agents", "ocr", "sources", "cluster")
#: Licences under which no package may be: GPL and AGPL, but not LGPL.
_REFUSED = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public")


def licences_of(package: str) -> list[str]:
    """What a package says of its licence: in its expression, else in all the fields that packages use for it."""
    facts = metadata(package)
    if expression := facts.get("License-Expression"):
        return [str(one) for one in re.split(r"\s+OR\s+", expression)]
    named = [one for one in facts.get_all("Classifier") or [] if one.startswith("License ::")]
    first_line = (facts.get("License") or "").strip().partition("\n")[0]
    return [*filter(None, [first_line]), *named]


def is_refused(licences: Iterable[str]) -> bool:
    """Whether a package must not be installed with Roost: it offers refused licences only, or states none."""
    return all(_REFUSED.search(one) for one in licences)


def with_requirements(requirements: Iterable[str], extras: Iterable[str] = ()) -> tuple[set[str], set[str]]:
    """Find the packages that requirements name, and all that these need on this machine.

    Args:
        requirements: As in `requires` of a package's metadata.
        extras: Extras of that package.

    Returns:
        Names of the packages that are installed, and of those that are not.
    """
    found: set[str] = set()
    missing: set[str] = set()
    waiting = set(_named(requirements, ("", *extras)))
    seen = set(waiting)
    while waiting:
        package, extra = waiting.pop()
        try:
            needed = set(_named(requires(package) or [], (extra,)))
        except PackageNotFoundError:
            missing.add(package)
            continue
        found.add(package)
        waiting |= needed - seen
        seen |= needed
    return found, missing


def _named(requirements: Iterable[str], extras: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give the packages, and extras of them, that are required on this machine with one of some extras."""
    for one in map(Requirement, requirements):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            yield from ((canonicalize_name(one.name), extra) for extra in ("", *one.extras))
