"""Snippets: the part of a chunk that contains the words of the query, and the positions of these words in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Stop words; they are searched for only if a query has no other words.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can did do does for from had has have how i in is it its my of on or our she that "
        "the their them they this to was we were what when where which who whom whose why will with you your",
    )
)
_WORD = re.compile(r"\w+")
_ENDINGS = ("ing", "ed", "es", "s")


@dataclass(frozen=True)
class Snippet:
    """One line of a chunk's text.

    text: The line.
    words: (start, end) of each word of the query in `text`.
    """

    text: str
    words: tuple[tuple[int, int], ...]


def make_snippet(text: str, query: str, *, length: int) -> Snippet:
    """Select the part of a text that contains most words of a query.

    Args:
        text: Text of a chunk, of any number of lines.
        query: Words to find; other inflections (plural, past tense) match too.
        length: Maximum number of characters, without the ellipses.

    Returns:
        One line of whole words, with … where text was omitted.
    """
    line = " ".join(text.split())
    wanted = _wanted(query)
    found = [match.span() for match in _WORD.finditer(line) if _stem(match[0]) in wanted]
    start, end = _window(line, found, length)
    snippet = f"{'… ' if start else ''}{line[start:end]}{' …' if end < len(line) else ''}"
    shift = start - (2 if start else 0)
    return Snippet(snippet, tuple((a - shift, b - shift) for a, b in found if a >= start and b <= end))


def _wanted(query: str) -> set[str]:
    words = [match[0].casefold() for match in _WORD.finditer(query)]
    return {_stem(word) for word in words if word not in _COMMON} or {_stem(word) for word in words}


def _stem(word: str) -> str:
    word = word.casefold()
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending).removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word


def _window(line: str, found: list[tuple[int, int]], length: int) -> tuple[int, int]:
    """Choose the start and end of the snippet: whole words, as many matches as fit, some context before the first."""
    if len(line) <= length:
        return 0, len(line)
    start = max(_starts(found, length), key=lambda start: _count(found, start, length), default=0)
    start = max(0, min(start, len(line) - length))
    if start:
        space = line.find(" ", start - 1, start + length)
        start = space + 1 if space >= 0 else start
    end = min(start + length, len(line))
    if end < len(line) and line[end] != " ":
        space = line.rfind(" ", start + 1, end)
        end = space if space > 0 else end
    return start, end


def _starts(found: list[tuple[int, int]], length: int) -> Iterator[int]:
    return (max(0, first - length // 6) for first, _ in found)


def _count(found: list[tuple[int, int]], start: int, length: int) -> int:
    return sum(start <= a and b <= start + length for a, b in found)
