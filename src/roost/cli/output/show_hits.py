"""The output of `roost search` and `roost ask`: hits with place, heading, marked snippet and neighbours; citations."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from roost.cli.output.console import SNIPPET_LENGTH, out, shortened
from roost.tasks.printable import printable
from roost.tasks.search.hits import Hit
from roost.tasks.search.snippets import make_snippet

#: Why a search without a filter finds nothing; a search by words only may find none of them.
NOTHING = "the index is empty, or none of its chunks has these words"


def show_hits(query: str, hits: Sequence[Hit], *, where: str = "") -> None:
    """Show hits, best first."""
    if not hits:
        out.print("nothing found: no chunk matches the filter" if where else f"nothing found: {NOTHING}")
    for hit in hits:
        title = Text.assemble((f"{hit.rank}. {hit.score:.3f}  ", "bold"), (hit.place, "cyan"))
        out.print(title.append(f"  {hit.heading}" if hit.heading else ""))
        if hit.parent:
            for line in hit.parent.text.splitlines():
                out.print(Text("   " + line))
            continue
        for text in hit.before:
            out.print(Text("   " + shortened(text), style="dim"))
        out.print(_marked(hit.text, query))
        for text in hit.after:
            out.print(Text("   " + shortened(text), style="dim"))


def show_sources(hits: Sequence[Hit], cited: Sequence[int]) -> None:
    """Show the hits that an answer cites, or all that the model received if it cites none."""
    out.print(
        "\n\nSources" if cited else "\n\nThe answer cites none of the hits that the model received:", style="bold"
    )
    for hit in hits:
        if hit.rank in cited or not cited:
            line = Text.assemble((f"[{hit.rank}] ", "bold"), (hit.place, "cyan"), f"  {hit.heading}")
            out.print(line, soft_wrap=True)


def show_piece(text: str) -> None:
    """Show a part of an answer as it arrives."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def _marked(chunk: str, query: str) -> Text:
    snippet = make_snippet(chunk, query, length=SNIPPET_LENGTH)
    line = Text("   " + snippet.text)
    for start, end in snippet.words:
        line.stylize("bold yellow", start + 3, end + 3)
    return line
