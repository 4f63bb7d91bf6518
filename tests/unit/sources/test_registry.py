"""Parsers as plug-ins: which one reads a file, what the ledger keeps of it, and the contract of every parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
from tests.checks import reason_of, text_of
from tests.conftest import ROOT
from tests.made_files import make_epub, make_ipynb, make_mail, make_pptx, make_xlsx
from tests.unit.sources.test_parsers import make_docx, make_pdf

from roost.parsers import DocumentError, FunctionParser, Parsed, Parser, TextBlock
from roost.tasks.errors import ConfigurationError
from roost.tasks.sources.formats import list_formats
from roost.tasks.sources.parsers import registry as registry_module
from roost.tasks.sources.parsers.identity import identity, is_current
from roost.tasks.sources.parsers.parse import parse, read
from roost.tasks.sources.parsers.parser import used_package
from roost.tasks.sources.parsers.registry import BUILT_IN, is_media, registry
from roost.testing import check_parser

SAMPLES: dict[str, Callable[[], bytes]] = {
    "markdown": lambda: b"---\ntitle: Trains\n---\n# Heading\n\nBody.\n",
    "html": lambda: b"<html lang=de><title>Page</title><h1>Top</h1><p>Words &amp; more.</p></html>",
    "docx": make_docx,
    "pdf": lambda: make_pdf("first leaf", "second leaf", title="Two leaves"),
    "pptx": make_pptx,
    "xlsx": make_xlsx,
    "epub": make_epub,
    "ipynb": make_ipynb,
    "mail": lambda: make_mail(**{"a.txt": b"words"}),
    "text": lambda: "Wörter in einer Zeile.\n".encode(),
}


def parse_shouted(data: bytes) -> Parsed:
    """Parse the made format: its text is what follows the mark, and it may need a package."""
    if not data.startswith(b"SHOUT"):
        raise DocumentError("damaged", "no SHOUT")
    return Parsed((TextBlock(data[5:].decode("ascii", errors="replace").replace("\r", "").replace("\0", "")),))


SHOUT = FunctionParser("shout", (".shout", ".mp3"), ("text/x-shout",), parse_shouted, revision="shouting 1")
NO_PARSER = SimpleNamespace(name="half")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install parsers: (entry point's name, its object's name in this module, its package)."""

    def install(*entries: tuple[str, str, str]) -> None:
        found = [
            EntryPoint(name, f"{__name__}:{value}", "roost.parsers")._for(SimpleNamespace(name=package))
            for name, value, package in entries
        ]
        monkeypatch.setattr(registry_module, "entry_points", lambda group: found)
        registry.cache_clear()

    yield install
    registry.cache_clear()


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_built_in_parser_keeps_the_contract_of_parsers(entry: EntryPoint) -> None:
    parser = entry.load()
    assert parser.name == entry.name
    check_parser(parser, {entry.name: SAMPLES[entry.name]()})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parse": lambda data: Parsed((TextBlock("a\rb"),))}, "cannot be stored"),
        ({"parse": lambda data: Parsed(())}, "no text"),
        ({"parse": lambda data: Parsed((TextBlock("b", page=2), TextBlock("a", page=1)))}, "not in order"),
        (
            {"parse": lambda data: Parsed((TextBlock(str(len(data) // (data[0] - 83))),))},
            "ZeroDivisionError instead of",
        ),
        ({"revision": ""}, "version is empty"),
        ({"suffixes": ("shout",)}, "one dot before it"),
    ],
)
def test_a_parser_that_breaks_the_contract_is_told_how(changed: dict[str, Any], said: str) -> None:
    parts = {name: getattr(SHOUT, name) for name in ("name", "suffixes", "media_types", "parse", "revision")}
    with pytest.raises((AssertionError, ZeroDivisionError), match=said) as caught:
        check_parser(FunctionParser(**parts | changed), {"a.shout": b"TSHOUT words"}, mutations=200)
    assert isinstance(caught.value, AssertionError)


def test_a_parser_of_an_installed_package_reads_its_suffix_and_is_named(installed: Callable[..., None]) -> None:
    assert is_media("a.mp3")
    installed(("shout", "SHOUT", "shouting"))
    assert not is_media("a.mp3")
    assert text_of(parse(b"SHOUThello", "a.SHOUT")) == "hello"
    assert read(b"SHOUThello", "a.mp3").read_by == ("shout", "shouting 1")
    shown = next(one for one in list_formats().formats if one.name == "shout")
    assert (shown.suffixes, shown.parser, shown.package) == ((".shout", ".mp3"), "shouting 1", "shouting")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("x", "MISSING", "bad")], "parser 'x' of the package bad cannot be loaded .AttributeError.*uninstall"),
        ([("x", "NO_PARSER", "bad")], "parser 'x' of the package bad is no parser"),
    ],
)
def test_a_parser_that_cannot_be_loaded_is_one_line_and_what_it_has_read_stays(
    installed: Callable[..., None], entries: list[tuple[str, str, str]], said: str
) -> None:
    installed(*entries)
    [line] = registry().problems
    assert re.search(said, line)
    assert len(line.splitlines()) == 1
    assert text_of(parse(b"words", "a.shout")) == "words"
    assert is_current("shouting 1", "a.shout")
    assert is_current("shouting 1", "a.pdf")
    assert not is_current("roost-markdown 0", "a.md")
    installed()
    assert not is_current("shouting 1", "a.shout")


def test_two_packages_with_a_parser_for_one_suffix_are_refused(installed: Callable[..., None]) -> None:
    installed(("x", "SHOUT", "one"), ("y", "SHOUT", "two"))
    with pytest.raises(ConfigurationError, match=r"packages one and two both have a parser for \.shout") as caught:
        registry()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "made", "read_as"),
    [
        ("report.docx", "pdf", "pdf"),
        ("report.pdf", "html", "html"),
        ("report", "docx", "docx"),
        ("report", "html", "html"),
        ("report.md", "docx", "docx"),
        ("template.php", "html", "text"),
        ("page.md", "html", "markdown"),
        ("a.txt", "html", "text"),
        ("a.docx", "docx", "docx"),
    ],
)
def test_a_file_is_known_by_its_content_where_the_suffix_is_wrong(name: str, made: str, read_as: str) -> None:
    reading = read(SAMPLES[made](), name)
    assert isinstance(reading.result, Parsed)
    assert reading.read_by.format == read_as
    assert is_current(reading.read_by.parser, name)
    assert ("; not " in reading.read_by.parser) == (registry().parser_for(name).name != read_as)


def test_a_photograph_named_as_text_is_no_text() -> None:
    assert reason_of(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "a.txt") == "unknown_format"


def test_another_version_of_a_parser_or_of_a_package_that_it_used_is_not_current(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser: Parser = registry().parser_for("a.pdf")
    plain = identity(parser, "a.pdf").parser
    with_table = identity(parser, "a.pdf", ("fpdf2", "fpdf2")).parser
    without = identity(parser, "a.pdf", ("no-such-package",)).parser
    assert with_table == f"{plain}; {used_package('fpdf2')}"
    assert without == f"{plain}; no-such-package missing"
    assert all(is_current(one, "a.pdf") for one in (plain, with_table, without))
    assert not is_current(f"{plain} rc1", "a.pdf")
    assert not is_current(f"{plain}; fpdf2 1.0", "a.pdf")
    assert not is_current(f"{plain}; fpdf2 missing", "a.pdf")
    assert not is_current(identity(parser, "a.pdf").parser, "a.md")


def test_a_document_read_before_ledgers_named_parsers_is_current_while_its_parser_is_in_its_first_revision() -> None:
    assert is_current("", "a.md")
    assert not is_current("", "a.pdf")


def test_the_parser_of_the_docs_keeps_the_contract_that_they_show() -> None:
    page = (ROOT / "docs" / "parsers.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    names: dict[str, Any] = {}
    exec(compile(code, "docs/parsers.md", "exec"), names)
    names["test_the_parser_keeps_the_contract"]()
