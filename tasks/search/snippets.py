"""Snippets: the part of a passage that holds the query's words, and where in it they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Words too common to be looked for, unless a query has no others.
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
    """A line of a passage. `words` are (start, end) of the query's words in `text`."""

    text: str
    words: tuple[tuple[int, int], ...]


def make_snippet(passage: str, query: str, *, length: int) -> Snippet:
    """Cut the part out of a passage that holds most of a query's words.

    Args:
        passage: The text, on as many lines as it likes.
        query: The words to look for; in another number or tense they count too.
        length: Most characters, the marks of omission not counted.

    Returns:
        One line, whole words, with … where something was left out.
    """
    line = " ".join(passage.split())
    wanted = _wanted(query)
    found = [match.span() for match in _WORD.finditer(line) if _stem(match[0]) in wanted]
    start, end = _window(line, found, length)
    text = f"{'… ' if start else ''}{line[start:end]}{' …' if end < len(line) else ''}"
    shift = start - (2 if start else 0)
    return Snippet(text, tuple((a - shift, b - shift) for a, b in found if a >= start and b <= end))


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
    """Choose where to cut: whole words, as many different places of words as fit, a little before the first."""
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
