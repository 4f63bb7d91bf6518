"""Rules of a site's `robots.txt`, as RFC 9309 has them: which URLs a crawler may read, and how often.

Source: RFC 9309, Robots Exclusion Protocol; `Crawl-delay` is a common addition to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote

#: RFC 9309, section 2.5: at least this much of the file is read.
MAX_ROBOTS_BYTES = 512_000
_MAX_DELAY_S = 60.0


@dataclass
class Robots:
    """What one crawler may read.

    rules: Pattern of a path with its query, as the file has it, and whether it allows.
    delay: Seconds between two requests; at most a minute.
    """

    rules: list[tuple[str, bool]] = field(default_factory=list)
    delay: float = 0.0

    def allows(self, path: str) -> bool:
        """Whether a path, which begins with a slash, may be read: the longest rule decides, `Allow` of equal ones."""
        matching = [(len(pattern), is_allowed) for pattern, is_allowed in self.rules if _matches(pattern, path)]
        return max(matching)[1] if matching else True


def parse_robots(text: str, agent: str) -> Robots:
    """Read the rules for a crawler: those of the groups with its name, or else of the groups for all.

    Args:
        text: Of the file.
        agent: Name of the crawler, without its version.
    """
    groups: dict[str, Robots] = {}
    current: list[Robots] = []
    is_heading = False
    for name, value in _lines(text):
        if name == "user-agent":
            current = [*(current if is_heading else []), groups.setdefault(value.lower(), Robots())]
            is_heading = True
            continue
        is_heading = False
        for group in current:
            _add(group, name, value)
    return groups.get(agent.lower()) or groups.get("*") or Robots()


def _lines(text: str) -> Iterable[tuple[str, str]]:
    for line in text.lstrip("\ufeff").splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _add(group: Robots, name: str, value: str) -> None:
    if name in ("allow", "disallow") and value:
        group.rules.append((value, name == "allow"))
    elif name == "crawl-delay":
        with suppress(ValueError):
            delay = float(value)
            group.delay = min(delay, _MAX_DELAY_S) if delay > 0 else 0.0


def _matches(pattern: str, path: str) -> bool:
    """Whether a rule matches a path: `*` stands for anything, `$` at the end for the end."""
    is_whole = pattern.endswith("$")
    first, *others = [quote(part, safe="/%?=&:@!+,;~()'[]") for part in re.split(r"\*+", pattern.removesuffix("$"))]
    if not path.startswith(first):
        return False
    place = len(first)
    for part in others[:-1] if is_whole else others:  # the first place that fits is as good as any: no backtracking
        found = path.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    if not is_whole:
        return True
    return path.endswith(others[-1]) and len(path) - len(others[-1]) >= place if others else place == len(path)
