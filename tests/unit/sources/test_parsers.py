"""Bytes to text: what each format keeps, and which bytes are refused for which reason."""

from __future__ import annotations

import codecs
import io
import json
import logging
import random
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pypdfium2
import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st
from tests.checks import outcome_of, reason_of, text_of
from tests.made_files import empty_docx

from roost.tasks.errors import DocumentError
from roost.tasks.sources.media import MEDIA_SUFFIXES
from roost.tasks.sources.parsers.markdown import split_front_matter
from roost.tasks.sources.parsers.parse import join_readings, parse, read
from roost.tasks.sources.parsers.parsed import PageRange
from roost.tasks.sources.text_encoding import clean, decode


@pytest.fixture(autouse=True)
def _quiet_pypdf() -> Iterator[None]:
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def make_pdf(*pages: str, title: str = "", **encryption: str) -> bytes:
    pdf = FPDF()
    pdf.set_title(title)
    for text in pages:
        pdf.add_page()
        pdf.set_font("helvetica", size=12)
        pdf.multi_cell(0, text=text)
    if encryption:
        pdf.set_encryption(**encryption)
    return bytes(pdf.output())


def make_docx() -> bytes:
    document = empty_docx()
    document.add_heading("Travel rules", 1)
    document.add_paragraph("Book trains early.")
    document.add_heading("Limits", 2)
    table = document.add_table(2, 2)
    for row, cells in enumerate([("City", "Limit"), ("Oslo", "120")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.add_paragraph("Keep receipts", style="List Bullet")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


# PDF


def test_a_pdf_has_a_text_block_for_each_page_numbered_from_1() -> None:
    parsed = parse(make_pdf("first leaf", "second leaf", "third leaf", title="Three leaves"), "a.PDF")
    assert [(block.page, block.text.strip()) for block in parsed.blocks] == [
        (1, "first leaf"),
        (2, "second leaf"),
        (3, "third leaf"),
    ]
    assert parsed.title == "Three leaves"
    assert parsed.metadata["pages"] == 3


def test_an_empty_page_does_not_shift_the_numbers_of_those_after_it() -> None:
    parsed = parse(make_pdf("before", "", "after"), "a.pdf")
    assert [block.page for block in parsed.blocks if block.text.strip()] == [1, 3]


@pytest.mark.parametrize("number", ["{}", "- {} -", "Page {} of 4", "| {}"])
def test_page_numbers_printed_on_the_pages_are_no_text(number: str) -> None:
    pages = [f"{words}\n{number.format(n)}" for n, words in enumerate(["Fog.", "Snow, in 2021", "", "Rain."], start=7)]
    assert [block.text.strip() for block in parse(make_pdf(*pages), "a.pdf").blocks] == [
        "Fog.",
        "Snow, in 2021",
        "",
        "Rain.",
    ]


def test_numbers_that_are_all_the_text_of_a_pdf_stay() -> None:
    assert [block.text.strip() for block in parse(make_pdf("1", "2"), "a.pdf").blocks] == ["1", "2"]


def test_a_number_that_does_not_count_along_with_the_pages_stays() -> None:
    parsed = parse(make_pdf("Lifts\n2021", "Huts\n1999", "Total\n3"), "a.pdf")
    assert [block.text.splitlines()[-1] for block in parsed.blocks] == ["2021", "1999", "3"]


def test_a_pdf_whose_pages_are_all_empty_is_refused_as_without_text() -> None:
    assert reason_of(make_pdf("", ""), "a.pdf") == "no_text"


def test_a_pdf_that_an_empty_password_opens_is_read() -> None:
    locked = make_pdf("kept from printing", owner_password="boss", user_password="")
    assert "kept from printing" in text_of(parse(locked, "a.pdf"))


def test_a_defect_of_the_parser_is_not_taken_for_damage_of_the_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(page: Any) -> str:
        raise AttributeError("'NoneType' object has no attribute 'get_object'")

    def empty(document: Any) -> Any:
        raise pypdfium2.PdfiumError("Failed to load document.")

    monkeypatch.setattr("pypdf.PageObject.extract_text", broken)
    monkeypatch.setattr("pypdfium2.PdfDocument", empty)
    with pytest.raises(AttributeError):
        parse(make_pdf("one page"), "a.pdf")


def test_a_pdf_that_wants_a_password_is_refused_as_encrypted() -> None:
    assert reason_of(make_pdf("secret", owner_password="boss", user_password="me"), "a.pdf") == "encrypted"


@pytest.mark.parametrize("data", [b"%PDF-1.7 and nothing more", b"plain words", b"\0" * 4000, b"%%EOF"])
def test_bytes_that_are_no_pdf_are_refused_as_damaged(data: bytes) -> None:
    assert reason_of(data, "a.pdf") == "damaged"


def test_a_pdf_cut_off_in_the_middle_is_read_or_refused_but_never_more_than_that() -> None:
    whole = make_pdf(*(f"page {n} " * 200 for n in range(5)))
    for end in range(100, len(whole), 997):
        assert outcome_of(whole[:end], "a.pdf") in ("text", "damaged", "no_text")


# Markdown


def test_front_matter_becomes_metadata_and_leaves_the_text() -> None:
    parsed = parse(b"---\ntitle: Trains\ntags: [rail, slow]\nyear: 2024\n---\n# Heading\n\nBody.\n", "a.md")
    assert parsed.title == "Trains"
    assert parsed.metadata == {"tags": ["rail", "slow"], "year": 2024}
    assert text_of(parsed) == "# Heading\n\nBody.\n"
    assert parsed.blocks[0].kind == "markdown"


@pytest.mark.parametrize("suffix", ["md", "mdx", "markdown", "MD"])
def test_every_markdown_suffix_is_cut_along_headings(suffix: str) -> None:
    assert parse(b"# Title\n\nBody", f"a.{suffix}").blocks[0].kind == "markdown"


@pytest.mark.parametrize(
    ("line", "title"),
    [("# Plain", "Plain"), ("#  Closed  ## ", "Closed"), ("# C#", "C#"), ("# ##", ""), ("#\ttabbed\t#", "tabbed")],
)
def test_the_signs_that_close_a_heading_are_no_part_of_the_title(line: str, title: str) -> None:
    assert parse(f"{line}\n\nBody.\n".encode(), "a.md").title == title


def test_a_heading_of_spaces_costs_no_more_than_its_length() -> None:
    started = time.process_time()
    parse(b"# a" + b" " * 300_000 + b"b\n", "a.md")
    parse(b"# a" + b" #" * 150_000 + b"b\n", "a.md")
    assert time.process_time() - started < 5  # minutes, where the cost is quadratic


def test_the_title_is_the_first_heading_when_front_matter_has_none() -> None:
    assert parse(b"intro\n\n## Small\n\n# The title #\n\n# Later\n", "a.md").title == "The title"


def test_a_comment_in_a_code_block_is_not_the_title() -> None:
    assert parse(b"```sh\n# install it first\n```\n\n# Real title\n", "a.md").title == "Real title"


def test_a_lone_hash_does_not_make_the_next_paragraph_the_title() -> None:
    assert parse(b"#\n\nsome paragraph\n", "a.md").title == ""


def test_front_matter_is_found_behind_a_byte_order_mark_and_windows_line_ends() -> None:
    parsed = parse(codecs.BOM_UTF8 + b"---\r\ntitle: Trains\r\n---\r\nBody\r\n", "a.md")
    assert (parsed.title, text_of(parsed)) == ("Trains", "Body\n")


@pytest.mark.parametrize(
    "matter",
    [
        "title: [never closed",
        "a: b: c",
        "- a list\n- no mapping",
        "just words",
        "key:\ttab",
        "!!python/object/apply:os.system [true]",
        "date: 2024-13-45",
        "count: !!int seven",
        "count: " + "9" * 5000,
        "when: {2024-01-01: a day}",
        "score: .nan",
        "score: -.inf",
        "loop: &me [*me]",
        'half: "\\uD800"',
        "deep: " + "[" * 1000,
    ],
    ids=lambda matter: matter[:24],
)
def test_broken_front_matter_never_costs_the_document(matter: str) -> None:
    parsed = parse(f"---\n{matter}\n---\n# Title\n\nBody stays.\n".encode(), "a.md")
    assert "Body stays." in text_of(parsed)
    assert parsed.title == "Title"
    json.dumps(dict(parsed.metadata), allow_nan=False, default=str, ensure_ascii=False).encode()


def test_front_matter_that_unfolds_without_end_does_not_reach_the_metadata() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = "\n".join(levels)
    metadata, body = split_front_matter(f"---\n{bomb}\n---\nBody")
    assert "a11" not in metadata
    assert body.endswith("Body")


def test_a_rule_at_the_top_is_not_taken_for_front_matter() -> None:
    text = "---\n\nfirst part\n\n---\n\nsecond part\n"
    assert split_front_matter(text) == ({}, text)


def test_a_markdown_file_of_front_matter_alone_is_the_text_of_its_front_matter() -> None:
    parsed = parse(b'---\ntitle: Only me\nplace: "Os\\0lo"\n---\n', "a.md")
    assert text_of(parsed) == "Only me\nplace: Oslo"
    assert parsed.title == "Only me"


def test_a_markdown_file_of_empty_front_matter_is_refused_as_without_text() -> None:
    assert reason_of(b"---\n{}\n---\n \n", "a.md") == "no_text"


# HTML


def test_html_keeps_headings_tables_and_code_and_drops_scripts_and_styles() -> None:
    page = b"""<html lang="de"><head><title>Page <b>title</b></title><style>p {color: red}</style>
        <script>var tracked = 1</script></head><body><script>alert("no")</script><noscript>enable</noscript>
        <template>hidden</template><h1>Top</h1><p>Some &amp; text, <a href="x.html">linked</a> too.</p><h2>Sub</h2>
        <style>h2 {}</style><table><tr><th>City</th><th>Limit</th></tr><tr><td>Oslo</td><td>120</td></tr></table>
        <pre>code  kept</pre><svg><text>drawing</text></svg></body></html>"""
    parsed = parse(page, "a.html")
    text = text_of(parsed)
    for kept in ("# Top\n", "## Sub\n", "Some & text, linked too.", "| Oslo | 120 |", "code  kept"):
        assert kept in text
    for dropped in ("tracked", "alert", "enable", "hidden", "color", "drawing", "x.html", "Page"):
        assert dropped not in text
    assert parsed.metadata == {"language": "de"}
    assert parsed.blocks[0].kind == "markdown"


def test_the_navigation_of_a_page_is_no_text_unless_there_is_nothing_else() -> None:
    menu = "<nav><ul><li>Home<li>Prices</ul></nav><div role='navigation'>Next page</div>"
    assert text_of(parse(f"<body>{menu}<p>Fog at noon.</p></body>".encode(), "a.html")).strip() == "Fog at noon."
    assert "Prices" in text_of(parse(f"<body>{menu}</body>".encode(), "a.html"))


def test_the_title_of_a_page_is_its_title_element() -> None:
    assert parse(b"<title>\n On  trains </title><h1>Other</h1>", "a.htm").title == "On  trains"


def test_a_fragment_without_a_body_is_read() -> None:
    assert text_of(parse(b"<p>bare</p>", "a.xhtml")) == "bare\n"


def test_a_page_of_scripts_alone_is_refused_as_without_text() -> None:
    assert reason_of(b"<html><body><script>draw()</script></body></html>", "a.html") == "no_text"


@pytest.mark.parametrize(
    ("declared", "real", "words"),
    [
        ("windows-1251", "cp1251", "Привет, мир"),
        ("koi8-r", "koi8-r", "Привет, мир"),
        ("shift_jis", "cp932", "日本語のテキスト①"),
        ("big5", "big5", "中文文字"),
        ("euc-kr", "cp949", "안녕 똠방각하"),
        ("gb2312", "gb18030", "朱镕基的文字"),
        ("iso-8859-1", "cp1252", "“quoted” – café"),
        ("us-ascii", "cp1252", "café"),
        ("iso-8859-2", "iso-8859-2", "žluťoučký kůň"),
        ("utf-8", "utf-8", "naïve 日本"),
        ("utf-16", "utf-8", "naïve 日本"),
        ("utf-16le", "utf-8", "naïve 日本!"),
        ("no-such-code", "utf-8", "naïve 日本"),
        ("undefined", "utf-8", "naïve 日本"),
        ("rot13", "utf-8", "naïve 日本"),
    ],
)
@pytest.mark.parametrize("padding", ["", " "])
def test_a_page_is_decoded_as_a_browser_would(declared: str, real: str, words: str, padding: str) -> None:
    page = f'<html><head><meta charset="{declared}"></head><body><p>{words}</p>{padding}</body></html>'
    assert text_of(parse(page.encode(real), "a.html")).strip() == words


def test_a_page_with_a_nul_in_its_declaration_is_refused_with_a_reason() -> None:
    assert reason_of('<meta charset="a\0b"><p>naïve 日本</p>'.encode(), "a.html") == "unknown_format"


def test_a_byte_order_mark_outdoes_what_a_page_declares() -> None:
    page = '<meta charset="windows-1251"><p>naïve 日本</p>'
    for encoding in ("utf-8-sig", "utf-16"):
        assert text_of(parse(page.encode(encoding), "a.html")).strip() == "naïve 日本"


# DOCX


def test_docx_keeps_headings_lists_and_tables_as_markdown() -> None:
    parsed = parse(make_docx(), "a.docx")
    text = text_of(parsed)
    for kept in ("# Travel rules\n", "Book trains early.", "## Limits\n", "| City | Limit |", "| Oslo | 120 |"):
        assert kept in text
    assert "- Keep receipts" in text
    assert parsed.title == "Travel rules"
    assert parsed.blocks[0].kind == "markdown"


def test_a_docx_without_words_is_refused_as_without_text() -> None:
    stream = io.BytesIO()
    empty_docx().save(stream)
    assert reason_of(stream.getvalue(), "a.docx") == "no_text"


def test_a_damaged_docx_is_refused_as_damaged() -> None:
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "no document in here")
    whole = make_docx()
    for data in (b"PK\x03\x04 cut", whole[: len(whole) // 2], other.getvalue(), b"\xd0\xcf\x11\xe0" + b"\0" * 600):
        assert reason_of(data, "a.docx") == "damaged"


# plain text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_wide_encodings_without_a_mark_are_read(encoding: str) -> None:
    words = "these plain words were written without any mark in front of them\n" * 3
    assert decode(words.encode(encoding)) == words


@pytest.mark.parametrize("words", ["Съешь же ещё этих булок. ", "Où êtes-vous né ? À l'été. ", "日本語のテキスト。"])
def test_one_bad_byte_does_not_turn_utf_8_into_another_encoding(words: str) -> None:
    once = (words * 30).encode()
    for damaged in (once + b"\xff" + once, once + once[:-1]):
        text = decode(damaged)
        assert text.startswith(words * 30)
        assert text.count("\ufffd") <= 2


def test_a_replacement_sign_that_was_written_as_one_is_no_damage() -> None:
    assert decode("sign: \ufffd \ufffd".encode()) == "sign: \ufffd \ufffd"


def test_a_source_file_in_an_unknown_suffix_is_text() -> None:
    assert text_of(parse(b"fn main() {}\n", "main.rs")) == "fn main() {}\n"
    assert text_of(parse(b"all:\n\techo\n", "Makefile")) == "all:\n\techo\n"


def test_every_kind_of_line_end_becomes_one() -> None:
    assert text_of(parse(b"one\r\ntwo\rthree\nfour\r\n", "a.txt")) == "one\ntwo\nthree\nfour\n"


def test_nothing_that_cannot_be_stored_is_left_in_a_text() -> None:
    assert clean("a\0b\r\nc\ud800d") == "ab\nc?d"


def test_a_nul_in_a_page_or_a_table_of_contents_is_dropped_and_the_text_kept() -> None:
    assert text_of(parse("<p>a\0b</p>".encode("utf-16"), "a.html")).strip() == "ab"
    assert text_of(parse("a\0b".encode("utf-8-sig"), "a.txt")) == "ab"


def test_binary_is_refused_as_unknown_format_whatever_its_suffix() -> None:
    rng = random.Random(7)
    noise = rng.randbytes(20_000)
    for name in ("a.dat", "a.txt", "a.md", "a.html", "a", "a.doc"):
        assert reason_of(noise, name) == "unknown_format"
    assert reason_of(b"\x7fELF\x02\x01\x01" + b"\0" * 200 + noise, "program") == "unknown_format"
    assert reason_of(b"PK\x03\x04" + noise, "a.7zz") == "unknown_format"


@pytest.mark.parametrize("suffix", sorted(MEDIA_SUFFIXES)[::6])
def test_media_are_refused_as_unknown_format_even_when_they_hold_letters(suffix: str) -> None:
    assert reason_of(b"letters", f"a{suffix.upper()}") == "unknown_format"


@pytest.mark.parametrize("name", ["a.pdf", "a.md", "a.html", "a.docx", "a.txt", "a.png"])
def test_a_file_of_0_bytes_is_refused_as_empty(name: str) -> None:
    assert reason_of(b"", name) == "empty"


@pytest.mark.parametrize("data", [b" \n\t \r\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, "\u3000\u00a0".encode()])
def test_a_text_of_blanks_is_refused_as_without_text(data: bytes) -> None:
    assert reason_of(data, "a.txt") == "no_text"


NASTY = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", errors="surrogatepass")),
    st.text(alphabet="---\n: [{&*!\"'}]ab#>|%@`", max_size=60).map(lambda text: f"---\n{text}\n---\nbody".encode()),
    st.text(alphabet="<>/!-?&;#= \"'abptrdx", max_size=120).map(str.encode),
)


@given(data=NASTY, suffix=st.sampled_from([".md", ".html", ".txt", ".docx", ".pdf"]))
def test_whatever_the_bytes_a_document_is_read_or_refused_with_a_reason(data: bytes, suffix: str) -> None:
    try:
        parsed = parse(data, f"a{suffix}")
    except DocumentError:
        return
    for text in (parsed.title, *(block.text for block in parsed.blocks)):
        text.encode()
        assert "\0" not in text
        assert "\r" not in text
    json.dumps(dict(parsed.metadata), allow_nan=False, default=str, ensure_ascii=False).encode()


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_pdf_parsed_in_page_ranges_is_the_whole_pdf(parts):
    data = make_pdf("One page.", "Another.", "", "The last one.", title="Four")
    readings = [read(data, "a.pdf", PageRange(number, parts)) for number in range(parts)]
    assert join_readings(readings, "a.pdf") == read(data, "a.pdf")


def test_a_pdf_without_text_is_refused_when_its_page_ranges_are_joined():
    data = make_pdf("", "")
    joined = join_readings([read(data, "a.pdf", PageRange(number, 2)) for number in range(2)], "a.pdf")
    assert isinstance(joined.result, DocumentError)
    assert joined.result.reason == "no_text"
