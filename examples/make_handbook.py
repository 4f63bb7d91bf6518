"""Render the handbook's PDF, DOCX and cp1252 files from the texts in `sources/`.

A source `sources/<folder>/<name>.<suffix>.md` becomes `handbook/<folder>/<name>.<suffix>`; the
suffix picks the renderer. Every other file of the handbook is kept as it is read. Dates and
metadata are fixed, so that the same library versions give the same bytes.

Usage: python examples/make_handbook.py    (needs fpdf2 and python-docx)
"""

import io
import re
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import docx
from docx.document import Document
from docx.shared import Cm
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

HERE = Path(__file__).parent
AUTHOR = "Corvane Observatory"
ISSUED = datetime(2024, 5, 1, 9, 0, tzinfo=UTC)
A5 = (148, 210)  # millimetres; by name, fpdf2 warns that it once had them wrong
PAGE_BREAK = "<!-- page -->"


@dataclass(frozen=True)
class Block:
    """One piece of a source text.

    kind: "title", "heading", "paragraph", "bullet", "number", "table" or "page".
    text: the words, without their marker; empty for "table" and "page".
    rows: the cells of a table, header row first.
    """

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def parse(text: str) -> Iterator[Block]:
    """Cut a source into blocks; a paragraph is one line, so that no renderer has to join lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        if is_table:
            yield Block("table", rows=tuple(_table_rows(group)))
        else:
            yield from map(_line_block, group)


def _table_rows(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """Split pipe-table lines into cells and leave out the dashes under the header."""
    for line in lines:
        if not re.fullmatch(r"[|\s:-]+", line):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def _line_block(line: str) -> Block:
    """Tell what one line outside a table is, by its marker."""
    if line == PAGE_BREAK:
        return Block("page")
    for kind, marker in (("title", "# "), ("heading", "## "), ("bullet", "- ")):
        if line.startswith(marker):
            return Block(kind, line.removeprefix(marker))
    # Numbers stay in the text: the order of steps must survive extraction.
    return Block("number" if re.match(r"\d+\. ", line) else "paragraph", line)


class Page(FPDF):
    """An A5 page of the handbook, with the running foot that printed manuals carry."""

    def footer(self) -> None:
        """Print title and page number; text that a good reader of PDFs may well drop."""
        self.set_y(-14)
        self.set_font("Helvetica", size=8)
        self.cell(0, 5, f"{AUTHOR} - {self.title} - page {self.page_no()}", align="C")


def render_pdf(blocks: list[Block]) -> bytes:
    """Set blocks on A5 pages in a built-in font (Latin-1 only) and return the file's bytes."""
    pdf = Page(format=A5)
    pdf.set_title(blocks[0].text)
    pdf.set_author(AUTHOR)
    pdf.set_lang("en")
    pdf.set_creation_date(ISSUED)
    pdf.set_margins(15, 13)
    pdf.set_auto_page_break(True, margin=17)
    pdf.add_page()
    for block in blocks:
        _pdf_block(pdf, block)
    return bytes(pdf.output())


def _pdf_block(pdf: Page, block: Block) -> None:
    """Append one block at the current position."""
    if block.kind == "page":
        pdf.add_page()
    elif block.kind == "table":
        _pdf_table(pdf, block.rows)
    elif block.kind == "title":
        _pdf_text(pdf, block.text, size=15, style="B")
    elif block.kind == "heading":
        pdf.ln(0.8)
        _pdf_text(pdf, block.text, size=11, style="B")
    elif block.kind == "bullet":
        _pdf_text(pdf, f"- {block.text}", indent=3)
    else:
        _pdf_text(pdf, block.text, indent=3 if block.kind == "number" else 0)


def _pdf_text(pdf: Page, text: str, *, size: float = 9, style: str = "", indent: float = 0) -> None:
    """Write one wrapped paragraph; size in points, indent in millimetres.

    Left-aligned: justified lines are spaced by moving the pen, which readers take for gaps.
    """
    pdf.set_font("Helvetica", style=style, size=size)
    pdf.set_x(pdf.l_margin + indent)
    pdf.multi_cell(0, size * 0.47, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(1.2)


def _pdf_table(pdf: Page, rows: tuple[tuple[str, ...], ...]) -> None:
    """Draw a ruled table, each column as wide as its longest cell asks for, within bounds.

    Below eight characters a one-word header would be broken inside the word.
    """
    pdf.set_font("Helvetica", size=8.5)
    widths = tuple(min(max(8, *map(len, column)), 40) + 2 for column in zip(*rows, strict=True))
    bold = FontFace(emphasis="BOLD")
    with pdf.table(rows, col_widths=widths, headings_style=bold, line_height=4, padding=0.6, text_align="LEFT"):
        pass
    pdf.ln(2)


def render_docx(blocks: list[Block]) -> bytes:
    """Build a Word file with heading, list and table styles and return its bytes."""
    document = docx.Document()
    properties = document.core_properties
    properties.title = blocks[0].text
    properties.author = properties.last_modified_by = AUTHOR
    properties.comments = ""
    properties.created = properties.modified = ISSUED.replace(tzinfo=None)
    styles = {"title": "Heading 1", "heading": "Heading 2", "bullet": "List Bullet"}
    for block in blocks:
        if block.kind == "table":
            _docx_table(document, block.rows)
        elif block.kind != "page":  # Word breaks pages by itself
            document.add_paragraph(block.text, style=styles.get(block.kind))
    buffer = io.BytesIO()
    document.save(buffer)
    return _with_fixed_times(buffer.getvalue())


def _docx_table(document: Document, rows: tuple[tuple[str, ...], ...]) -> None:
    """Append a grid; widths are left to Word."""
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Table Grid")
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_paragraph().paragraph_format.space_after = Cm(0.1)


def _with_fixed_times(package: bytes) -> bytes:
    """Repack a zip with one date on every member; python-docx stamps the time of saving."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, date_time=ISSUED.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(member, old.read(name))
    return buffer.getvalue()


def render_cp1252(blocks: list[Block]) -> bytes:
    """Write wrapped plain text as an old Windows editor saved it: cp1252, CRLF.

    Headings are capitals, whose accents (É is 0xC9) also tell detectors Windows from old Mac text.
    """
    parts = []
    for block in blocks:
        text = block.text.upper() if block.kind in ("title", "heading") else block.text
        parts.append("\r\n".join(textwrap.wrap(text, width=84)))
    return ("\r\n\r\n".join(parts) + "\r\n").encode("cp1252")


RENDERERS: dict[str, Callable[[list[Block]], bytes]] = {
    ".pdf": render_pdf,
    ".docx": render_docx,
    ".txt": render_cp1252,
}


def main() -> None:
    """Render every source and say what was written, one line a file."""
    for source in sorted((HERE / "sources").rglob("*.md")):
        target = HERE / "handbook" / source.relative_to(HERE / "sources").with_suffix("")
        content = RENDERERS[target.suffix](list(parse(source.read_text(encoding="utf-8"))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{target.relative_to(HERE)}  {len(content)} bytes")


if __name__ == "__main__":
    main()
