"""The output of `roost tune`: the fusions that were tried, the choice, and what it was measured to be worth."""

from __future__ import annotations

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.tuning import Tuning


def show_tuning(tuning: Tuning) -> None:
    """Show how a fusion was chosen."""
    table = Table("fusion", box=box.SIMPLE)
    table.add_column(f"{MAIN} on the {tuning.chosen_on} questions that choose", justify="right")
    for fusion, value in tuning.tried:
        table.add_row(fusion.label, f"{value:.4f}")
    out.print_table(table)
    quality, difference = tuning.quality, tuning.difference
    out.print(
        f"{tuning.index}: {_choice(tuning)}; {MAIN} "
        f"{quality.value:.4f} ({quality.low:.4f} to {quality.high:.4f}) on the other {tuning.measured_on} questions, "
        f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) against before",
        soft_wrap=True,
    )
    for note in tuning.notes:
        out.print(f"note: {note}", style="yellow", soft_wrap=True)


def _choice(tuning: Tuning) -> str:
    if tuning.is_kept:
        return f"searched by {tuning.fusion.label} from now on (before: {tuning.before.label})"
    return f"{tuning.fusion.label} was the best and is not kept"
