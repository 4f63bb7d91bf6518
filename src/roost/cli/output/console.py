"""The console of standard output, and the shortening of long texts."""

from __future__ import annotations

from rich.console import Console

#: Characters of a chunk's text that a list of hits shows.
SNIPPET_LENGTH = 240

out = Console(highlight=False, markup=False)


def shortened(text: str, length: int = SNIPPET_LENGTH) -> str:
    """Join a text to one line of at most `length` characters, cut at the end of a word."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " …"
