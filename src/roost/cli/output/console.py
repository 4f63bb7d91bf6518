"""Consoles that print no control characters, tables for narrow terminals, and the shortening of long texts.

rich leaves out colours where NO_COLOR is set, TERM is dumb, or the output is no terminal.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from roost.tasks.printable import printable

#: Characters of a chunk's text that a list of hits shows.
SNIPPET_LENGTH = 240
#: Columns of a terminal below which a table that does not fit is shown as a list.
NARROW = 72
#: Columns of what is no terminal: programs read whole lines.
UNLIMITED = 10_000


class SafeConsole(Console):
    """A console that replaces control characters in all that it is given; its own colours stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, **options)
        self._has_width = "width" in options

    @property
    def has_width(self) -> bool:
        """Whether lines are broken: not where there is no terminal, unless COLUMNS is set."""
        return self._has_width or self.is_terminal or shutil.get_terminal_size((0, 0)).columns > 0

    @property
    def options(self) -> ConsoleOptions:
        """The options of rendering, with the width of the lines."""
        options = super().options
        return options if self.has_width else options.update(width=UNLIMITED)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; lines that are not broken are not cut off either."""
        super().print(*objects, **({"crop": self.has_width} | options))

    def render_str(self, text: str, **options: Any) -> Text:
        """Make rich's text of a string, before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Replace what texts contain that were no strings when they were given."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def print_table(self, table: Table) -> None:
        """Print a table; on a narrow terminal that it does not fit, each row as a list of its cells."""
        width = self.options.max_width
        if width >= NARROW or self.measure(table, options=self.options.update(width=UNLIMITED)).maximum <= width:
            self.print(table)
            return
        for row in zip(*(column.cells for column in table.columns), strict=True):
            for column, cell in zip(table.columns, row, strict=True):
                if str(cell):
                    title = f"{column.header}: " if str(column.header) else ""
                    self.print(Text.assemble(title, cell if isinstance(cell, Text) else str(cell)))
            self.print()


out = SafeConsole()


def shortened(text: str, length: int = SNIPPET_LENGTH) -> str:
    """Join a text to one line of at most `length` characters, cut at the end of a word."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " …"
