"""Parser for Word documents (.docx)."""

from __future__ import annotations

import io

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.archives import check_archive
from roost.tasks.sources.parsers.document_facts import office_facts
from roost.tasks.sources.parsers.html import html_to_markdown
from roost.tasks.sources.parsers.markdown import first_heading
from roost.tasks.sources.parsers.parsed import CODE_ERRORS, Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import FunctionParser


def parse_docx(data: bytes) -> Parsed:
    """Parse a Word document by way of HTML and Markdown: headings, lists and tables are kept, images dropped.

    Raises:
        DocumentError: The file is damaged or not a .docx.
    """
    import mammoth

    check_archive(data, ".docx")
    no_images = mammoth.images.img_element(lambda _: {})
    try:
        html = mammoth.convert_to_html(io.BytesIO(data), convert_image=no_images).value
    except (MemoryError, RecursionError, *CODE_ERRORS):
        raise
    except Exception as error:  # noqa: BLE001  mammoth has no exception of its own; a damaged file raises almost any
        raise DocumentError("damaged", f"not a readable .docx: {first_line(error)}") from None
    text = html_to_markdown(html)
    return Parsed((TextBlock(text, kind="markdown"),), first_heading(text), office_facts(data))


PARSER = FunctionParser(
    "docx",
    (".docx", ".docm"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    parse_docx,
    revision="roost-docx 2",
    packages=("mammoth",),
)
