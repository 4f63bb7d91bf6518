"""What people see of passages: where they stand, the query's words in their context, their neighbours."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from roost.cli.output.console import SNIPPET_LENGTH, out, shortened
from roost.tasks.search.retrieve import Hit
from roost.tasks.search.snippets import make_snippet


def show_hits(query: str, hits: Sequence[Hit], *, where: str = "") -> None:
    """Show passages with where they stand."""
    if not hits:
        out.print("nothing found: the filter lets no passage through" if where else "nothing found: the index is empty")
    for hit in hits:
        title = Text.assemble((f"{hit.rank}. {hit.score:.3f}  ", "bold"), (hit.place, "cyan"))
        out.print(title.append(f"  {hit.heading}" if hit.heading else ""))
        for text in hit.before:
            out.print(Text("   " + shortened(text), style="dim"))
        out.print(_marked(hit.text, query))
        for text in hit.after:
            out.print(Text("   " + shortened(text), style="dim"))


def show_sources(hits: Sequence[Hit], cited: Sequence[int]) -> None:
    """Show the passages that an answer cites; all that it was given, where it cites none."""
    out.print("\n\nSources" if cited else "\n\nIt cites none of the passages that it was given:", style="bold")
    for hit in hits:
        if hit.rank in cited or not cited:
            out.print(Text.assemble((f"[{hit.rank}] ", "bold"), (hit.place, "cyan"), f"  {hit.heading}"))


def show_piece(text: str) -> None:
    """Show a piece of an answer as it comes."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _marked(passage: str, query: str) -> Text:
    snippet = make_snippet(passage, query, length=SNIPPET_LENGTH)
    line = Text("   " + snippet.text)
    for start, end in snippet.words:
        line.stylize("bold yellow", start + 3, end + 3)
    return line
