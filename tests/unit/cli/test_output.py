"""What is shown in the terminal: texts of documents without control characters, the words that were asked for."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.table import Table
from rich.text import Text

from roost.cli.demo_report import DemoAnswer, DemoReport
from roost.cli.main import main
from roost.cli.output import show_demo as demo
from roost.cli.output import show_hits as hits
from roost.cli.output.console import SafeConsole
from roost.cli.output.model_notices import model_notices
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.tasks.search.hits import Hit
from roost.tasks.steps.report import Reject

#: Moves the cursor, sets the title, and an 8-bit control sequence, with what stays.
EVIL = "a\x1b[2J\x1b]0;t\x07\x9b31m\x7fb\tc"
SHOWN = "a�[2J�]0;t��31m�b"


def evil_table() -> Table:
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    return table


@pytest.mark.parametrize("shown", [EVIL, Text(EVIL), evil_table()], ids=["string", "text", "table"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_nothing_that_is_printed_keeps_a_control_character(shown, terminal: bool) -> None:
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=terminal, color_system=None, width=60).print(shown)
    text = file.getvalue()
    assert not {letter for letter in text if ord(letter) < 32 or 127 <= ord(letter) < 160} - {"\n"}
    assert "�[2J" in text


def test_log_messages_of_a_command_have_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.cli.main._run_to_code", lambda: 0)
    monkeypatch.setattr("roost.cli.main.leave", lambda code: None)
    before = logging.getLogRecordFactory()
    try:
        main()
        record = logging.getLogger("roost").makeRecord("roost", logging.WARNING, "", 0, "the page %s", (EVIL,), None)
    finally:
        logging.setLogRecordFactory(before)
    assert record.getMessage() == "the page " + EVIL.translate(dict.fromkeys([0x1B, 0x07, 0x9B, 0x7F], "�"))


def test_colours_of_our_own_stay() -> None:
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True, color_system="standard").print("a", style="bold")
    assert file.getvalue() == "\x1b[1ma\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_is_written_where_the_environment_says_so(monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True).print("a", style="cyan")
    assert file.getvalue() == "a\n"


def test_lines_are_not_broken_in_a_pipe_and_are_as_wide_as_columns_says(monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    file = io.StringIO()
    table = Table(box=None, show_header=False)
    table.add_row("first", "cell " * 100, "last")
    for shown in ("word " * 100, table):
        SafeConsole(file=file).print(shown)
    assert file.getvalue().count("\n") == 2
    assert (file.getvalue().count("word"), file.getvalue().count("cell"), "last" in file.getvalue()) == (100, 100, True)
    monkeypatch.setenv("COLUMNS", "60")
    SafeConsole(file=file).print("word " * 100)
    assert max(map(len, file.getvalue().splitlines()[2:])) <= 60


@pytest.mark.parametrize(("width", "is_list"), [(40, True), (100, False)])
def test_a_table_that_does_not_fit_a_narrow_terminal_is_a_list(width: int, is_list: bool) -> None:
    file = io.StringIO()
    table = Table("name", "", "reason")
    table.add_row("a.md", "", "a long reason that does not fit the line")
    SafeConsole(file=file, width=width).print_table(table)
    assert ("name: a.md\nreason: a long" in file.getvalue()) == is_list


def test_the_next_command_is_named_to_a_person_and_to_nobody_else(monkeypatch, capsys) -> None:
    tell_next("roost status")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("roost.cli.output.next_step.is_terminal", lambda _: True)
    tell_next("")
    assert capsys.readouterr() == ("", "")
    tell_next("roost status")
    assert capsys.readouterr() == ("", "Next: roost status\n")


def test_a_line_about_the_preparation_of_a_model_is_told_while_somebody_listens() -> None:
    told: list[str] = []
    logger = logging.getLogger("roost.tasks.models.openvino_export")
    with model_notices(told.append):
        logger.info("exporting the model %s", "m")
    logger.info("not told")
    assert told == ["exporting the model m"]


def test_answers_of_a_model_and_names_of_documents_are_shown_without_control_characters(capsys) -> None:
    hits.show_piece(EVIL)
    hits.show_hits("b", [Hit(1, 0.5, f"{EVIL}.md", "s", None, EVIL, EVIL, "d", "d-0", before=(EVIL,))])
    text = capsys.readouterr().out
    assert text.startswith(SHOWN)
    assert not set("\x1b\x07\x9b\x7f") & set(text)


def test_json_escapes_all_control_characters_and_keeps_the_values(capsys) -> None:
    print_json({"name": EVIL, "word": "é"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": EVIL, "word": "é"}
    assert not set("\x1b\x07\x9b\x7f") & set(text)
    assert "é" in text


def test_the_demo_shows_the_words_that_were_asked_for_and_names_what_it_did_not_read(capsys, monkeypatch) -> None:
    text = f"{'The hut has rules for all. ' * 20}Skis are waxed by Ilse. {'More rules follow here. ' * 9}"
    answer = DemoAnswer("who waxes the skis?", "huts.md", None, text, True)
    monkeypatch.setattr(demo, "out", SafeConsole(width=200))
    demo.show_demo(DemoReport(None, (answer,)), "handbook")  # type: ignore[arg-type]
    demo.show_unread([Reject("page.pdf", "no_text: a scan" * 20)])
    shown = capsys.readouterr().out
    assert "Skis are waxed by Ilse." in shown
    assert f"not read: page.pdf: {'no_text: a scan' * 20}\n" in shown
