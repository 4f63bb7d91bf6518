"""The progress bar says what it waits for, and which of its two times is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress

from roost.cli.output.progress_bar import CountColumn, ProgressBar, TimeColumn, columns_for, progress_on_stderr
from roost.flows.running.progress import Advanced, Planned, Stage, Warned


class Drawn:
    """A bar that is drawn by hand, at times that the test sets."""

    def __init__(self) -> None:
        self.now, self.said = 0.0, io.StringIO()
        console = Console(file=self.said, width=100)
        self._rich = RichProgress(CountColumn(), TimeColumn(), console=console, get_time=lambda: self.now)
        self.bar = ProgressBar(self._rich)

    @property
    def description(self) -> str:
        return self._rich.tasks[0].description

    @property
    def columns(self) -> str:
        [task] = self._rich.tasks
        return " ".join(column.render(task).plain for column in (CountColumn(), TimeColumn())).strip()


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


def test_before_there_is_a_plan_it_names_the_work_and_counts_nothing(drawn: Drawn) -> None:
    drawn.bar(Stage("starting Prefect"))
    drawn.now = 3.0
    assert (drawn.description, drawn.columns) == ("starting Prefect", "0:00:03")


def test_the_time_before_the_word_left_is_the_time_left(drawn: Drawn) -> None:
    drawn.bar(Planned(documents=40, batches=4))
    for second in (10.0, 20.0):
        drawn.now = second
        drawn.bar(Advanced(documents=10, chunks=100))
    assert drawn.columns == "20/40 documents, 200 chunks 10 chunks/s 0:00:20, 0:00:20 left"


def test_a_warning_is_a_line_of_its_own(drawn: Drawn) -> None:
    drawn.bar(Warned("Prefect's server stopped answering"))
    assert drawn.said.getvalue() == "Prefect's server stopped answering\n"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_bar_takes_one_line_of_a_terminal(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    with RichProgress(*columns_for(width), console=console, auto_refresh=False) as rich:
        bar = ProgressBar(rich)
        bar(Planned(documents=12_000, batches=4))
        bar(Advanced(documents=6_000, chunks=100_000))
        rich.refresh()
        lines = console.render_lines(rich.get_renderable(), console.options)
    assert len(lines) == 1
    text = "".join(segment.text for segment in lines[0])
    assert "6,000/12,000" in text
    assert len(text) <= width


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "stream", "says"),
    [
        ("dumb", Terminal(), "listing the sources …\nindexing 40 documents …\na warning\n"),
        ("xterm", io.StringIO(), "a warning\n"),
    ],
    ids=["dumb terminal", "pipe"],
)
def test_where_no_bar_can_be_drawn_nothing_is_overwritten(monkeypatch, term: str, stream: io.StringIO, says) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", stream)
    with progress_on_stderr(bar=True) as progress:
        for event in (Stage("listing the sources"), Planned(documents=40, batches=4), Warned("a warning")):
            progress(event)
    assert stream.getvalue() == says
