"""What documents, their names and models say is shown as words, in every place: nothing is carried out or rendered."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from jinja2.sandbox import SandboxedEnvironment
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import ValidationError
from tests.stand_ins import ingest_report

from roost.cli.output import show_hits
from roost.cli.output.console import SafeConsole
from roost.cli.output.print_json import print_json
from roost.cli.output.printable_record import PrintableRecord
from roost.deployments.prefect_setup import _MESSAGE
from roost.flows.parameters import IngestRequest
from roost.flows.running import events
from roost.flows.running.artifacts import ProgressArtifact
from roost.flows.running.progress import Stage
from roost.tasks.errors import RoostError
from roost.tasks.evaluation.report_parts import SampleAnswer
from roost.tasks.evaluation.report_text import _answers
from roost.tasks.markdown import escaped
from roost.tasks.search.hits import Hit
from roost.tasks.steps.report import IngestReport, Reject
from roost.tasks.steps.report_page import ingest_page
from roost.tasks.steps.report_text import reject_rows

HOSTILE = [
    "[x](javascript:alert(1))",
    "![x](https://evil.example/p.png)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<javascript:alert(1)>",
    "a\n\n# heading\n- item\n\n```\ncode",
    "a\n===\nb\n\n    code",
    "a\r\nINFO | a forged line of a log",
    "a | b |\n| - | - |",
    "*b* _i_ ~~s~~ `c` &lt;b&gt; &#60;",
    "<!channel> @all <https://evil.example|a report>",
    "{{ event.id }} {% raw %} \\",
    "\x1b[2J\x1b]0;t\x07\x9b31m\x7f",
    "invoice\u202egnp.exe \u2066x\u2069",
]
HARMLESS = "a name.md"
#: Classes of characters that change the order of others.
REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
REPORT = ingest_report()


def acts(text: str) -> bool:
    """Whether a text has characters that a terminal carries out, or that change the order of others."""
    return any(
        unicodedata.category(letter) == "Cc" or unicodedata.bidirectional(letter) in REORDERING for letter in text
    )


def structure(markdown: str) -> list[str]:
    """What a page consists of, without its words: headings, links, images, HTML, tables, and so on, in their order."""

    def kinds(tokens: list[Token]) -> Iterator[str]:
        for token in tokens:
            if not token.type.startswith("text"):
                yield f"{token.type} {token.tag} {token.attrs}"
            yield from kinds(token.children or [])

    return list(kinds(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)))


def rejecting(word: str) -> IngestReport:
    rejects = (Reject(word, f"damaged: {word}"),)
    return replace(
        REPORT,
        rejects=rejects,
        documents=replace(REPORT.documents, quarantined=1),
        unlisted=(word,),
        empty_sources=(word,),
    )


def page_of_ingest(word: str) -> str:
    return ingest_page(rejecting(word), Counter({word: 1}), [], datetime(2026, 11, 22, tzinfo=UTC)).as_markdown()


def progress(word: str) -> str:
    artifact = ProgressArtifact(lambda _: None)
    artifact(Stage(word))
    return artifact.markdown


def answers(word: str) -> str:
    of_one_line = word.replace("\n\n", "\n")  # an answer keeps its paragraphs
    return _answers([SampleAnswer(word, of_one_line, "", "model", 1, (1,), hits=(word,))])


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("make", [page_of_ingest, progress, answers, lambda word: f"- {escaped(word)}"])
def test_a_page_of_the_ui_has_nothing_that_a_word_has_made(make: Callable[[str], str], word: str) -> None:
    assert structure(make(word)) == structure(make(HARMLESS))
    assert not acts(make(word).replace("\n", ""))


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_the_table_of_rejects_has_one_line_in_each_cell(word: str) -> None:
    [row] = reject_rows(rejecting(word))
    assert not any(map(acts, row.values()))


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_a_web_hook_gets_words_that_no_chat_reads_as_a_link_or_a_mention(word: str, monkeypatch) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(events, "emit_event", lambda *_, payload: told.append(payload))
    events.emit_quarantined(rejecting(word))
    event = {"event": events.QUARANTINED, "resource": {"name": "docs"}, "payload": told[0], "id": "rendered"}
    sent = json.loads(SandboxedEnvironment().from_string(_MESSAGE).render(event=event))["text"]
    title, _, summary = sent.partition("\n")
    assert title == "roost.documents.quarantined: docs"
    assert not acts(summary)
    assert not set("<>@") & set(summary)
    assert "rendered" not in sent
    assert structure(summary) == structure(f"1 documents of docs are quarantined: {HARMLESS}")


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_a_terminal_a_log_an_error_and_json_carry_out_nothing(word: str, monkeypatch, capsys) -> None:
    file = io.StringIO()
    monkeypatch.setattr(show_hits, "out", SafeConsole(file=file, force_terminal=True, color_system=None, width=80))
    show_hits.show_hits(word, [hit_of(word)])
    record = PrintableRecord("roost", logging.WARNING, "", 0, "the page %s", (word,), None)
    print_json({"uri": word, word: 1})
    shown = [file.getvalue(), record.getMessage(), str(RoostError(f"no {word}")), capsys.readouterr().out]
    assert not any(acts(text.replace("\n", "").replace("\t", "")) for text in shown)
    assert json.loads(shown[3]) == {"uri": word, word: 1}
    assert len(shown[3].splitlines()) == 1


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_word_is_the_name_of_an_index_which_descriptions_and_keys_have(word: str) -> None:
    with pytest.raises(ValidationError):
        IngestRequest(sources=[], index=word)


def hit_of(word: str) -> Hit:
    return Hit(1, 0.5, word, "docs", None, heading=word, text=word, doc_id="0" * 32, id=f"{'0' * 32}-000000")
