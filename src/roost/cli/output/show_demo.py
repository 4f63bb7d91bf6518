"""The output of `roost demo`: questions, first hits, and how many of them are right."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from roost.cli.output.console import out, shortened

#: Questions that the table shows; all of them are asked and counted.
MAX_QUESTIONS = 12


def show_demo(rows: list[dict[str, Any]], right: int, index: str) -> None:
    """Show some questions with their first hits, then the number of right first hits of all."""
    table = Table(
        "question", "first hit", "text", "", title=f"{MAX_QUESTIONS} of {len(rows)} questions", show_lines=True
    )
    step = max(1, len(rows) // MAX_QUESTIONS)
    for row in rows[::step][:MAX_QUESTIONS]:
        place = f"{row['uri']}, page {row['page']}" if row["page"] else row["uri"]
        table.add_row(row["question"], place, shortened(row["text"], 110), "✓" if row["right"] else "✗")
    out.print(table)
    out.print(f"The first hit is right for {right} of {len(rows)} questions. Ask your own:")
    out.print(f'  roost search "what do I wear to the summit?" --index {index}', style="bold")
