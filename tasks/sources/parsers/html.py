"""Parser for web pages, and the conversion of HTML to Markdown that other parsers use too."""

from __future__ import annotations

import re

from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import BYTE_ORDER_MARKS, clean, decode

_INVISIBLE_TAGS = ["script", "style", "noscript", "template", "svg", "img", "iframe"]

#: Encoding that browsers use for a declared one where the declared one is narrower than what pages contain.
#: WHATWG Encoding Standard, section 4.2 "Names and labels".
_DECLARED_ENCODINGS = {
    **dict.fromkeys(("ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis"), "cp932"),
    **dict.fromkeys(("utf-16", "utf-16le", "utf-16be"), "utf-8"),
    "euc-kr": "cp949",
}


def parse_html(data: bytes) -> Parsed:
    """Parse a web page: its body as Markdown, without scripts, styles, and navigation unless there is nothing else.

    Raises:
        DocumentError: The bytes are not text.
    """
    from bs4 import BeautifulSoup

    page = BeautifulSoup(decode_html(data), "html.parser")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    language = page.html.get("lang") if page.html else None
    body = page.body or page
    whole = str(body)
    for tag in body.select("nav, [role=navigation]"):
        tag.decompose()
    text = html_to_markdown(str(body))
    text = text if text.strip() else html_to_markdown(whole)
    authors = [tag.get("content") for tag in page.find_all("meta", attrs={"name": "author"})]
    dated = page.find("meta", attrs={"property": "article:published_time"}) or page.find("meta", attrs={"name": "date"})
    facts = document_facts(authors=authors, created=dated.get("content") if dated else "")
    return Parsed((TextBlock(text, kind="markdown"),), title, facts | ({"language": str(language)} if language else {}))


def html_to_markdown(html: str) -> str:
    """Convert HTML to Markdown: headings, lists, tables and code are kept, links become their text."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(_INVISIBLE_TAGS):
        tag.decompose()
    text = MarkdownConverter(
        heading_style="atx",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        strip=["a"],
        table_infer_header=True,
    ).convert_soup(soup)
    return re.sub(r"\n{3,}", "\n\n", clean(text)).strip() + "\n"


def decode_html(data: bytes) -> str:
    """Decode a web page: by the encoding that it declares, or else as text.

    Raises:
        DocumentError: The bytes are not text.
    """
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    if not declared or data.startswith(tuple(BYTE_ORDER_MARKS)):
        return decode(data)
    try:
        return clean(data.decode(_DECLARED_ENCODINGS.get(declared.lower(), declared)))
    except (LookupError, ValueError):
        return decode(data)


PARSER = FunctionParser(
    "html",
    (".html", ".htm", ".xhtml"),
    ("text/html", "application/xhtml+xml"),
    parse_html,
    revision="roost-html 1",
)
