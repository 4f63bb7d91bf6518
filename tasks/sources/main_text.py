"""The main text of a web page: what trafilatura finds, without navigation, banners and footers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.connectors.contract import Content
from roost.tasks.sources.parsers.html import decode_html

#: Share of the text that a page marks as its main part, below which trafilatura has lost too much of it.
_MIN_SHARE = 0.5
#: What the parser of HTML reads of a page's head.
_FACTS = "//head/title | //head/meta[@name='author' or @name='date' or @property='article:published_time']"
_MAIN = "//main | //*[@role='main']"


def main_content(content: Content) -> Content:
    """Reduce a web page to an HTML page of its main text; headings, lists, tables and code stay.

    Where trafilatura finds less than half of the text, or fewer tables, of what the page itself marks as its main part,
    that part is taken instead; where it finds nothing, the page stays as it is.

    Raises:
        DocumentError: It is no HTML.
    """
    from lxml import html
    from lxml.etree import LxmlError
    from trafilatura import extract

    page = content.data if isinstance(content.data, str) else _decode(content.data, content.media_type)
    try:
        tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except (LxmlError, ValueError):
        raise DocumentError("damaged", "it is no web page") from None
    found = extract(page, output_format="html", include_comments=False, include_formatting=True, favor_recall=True)
    marked = tree.xpath(_MAIN)
    main = html.document_fromstring(found) if found else None
    for code in main.xpath("//pre/pre") if main is not None else ():  # trafilatura doubles them
        code.drop_tag()
    if marked and (main is None or _loses(main, marked[0])):
        main = marked[0]
    if main is None:
        return replace(content, data=page.encode(), media_type="text/html; charset=utf-8")
    body = main.find("body") if main.tag == "html" else main
    parts = [html.tostring(part, encoding="unicode", with_tail=False) for part in [*tree.xpath(_FACTS), body]]
    language = tree.get("lang") or ""
    return replace(content, data=_as_page(language, *parts).encode(), media_type="text/html; charset=utf-8")


def _as_page(language: str, *parts: str) -> str:
    *facts, body = parts
    quoted = "".join(letter for letter in language if letter.isalnum() or letter == "-")
    given = f' lang="{quoted}"' if quoted else ""
    return f'<!DOCTYPE html><html{given}><head><meta charset="utf-8">{"".join(facts)}</head>{body}</html>'


def _loses(found: Any, marked: Any) -> bool:
    is_short = _length(found) < _MIN_SHARE * _length(marked)
    return is_short or len(found.findall(".//table")) < len(marked.findall(".//table"))


def _length(element: Any) -> int:
    return sum(len("".join(text.split())) for text in element.itertext())


def _decode(data: bytes, media_type: str) -> str:
    """Decode a page by the encoding that its server names, or else as any HTML."""
    charset = media_type.lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    if charset:
        try:
            return data.decode(charset)
        except (LookupError, ValueError):
            pass
    return decode_html(data)
