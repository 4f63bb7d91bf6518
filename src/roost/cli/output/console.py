"""The console of standard output, consoles that print no control characters, and the shortening of long texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from roost.cli.output.printable import printable

#: Characters of a chunk's text that a list of hits shows.
SNIPPET_LENGTH = 240


class SafeConsole(Console):
    """A console that replaces control characters in all that it is given; its own colours stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make rich's text of a string, before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Replace what texts contain that were no strings when they were given."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


out = SafeConsole()


def shortened(text: str, length: int = SNIPPET_LENGTH) -> str:
    """Join a text to one line of at most `length` characters, cut at the end of a word."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " …"
