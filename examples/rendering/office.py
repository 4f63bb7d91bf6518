"""Office files: Word documents, slides and workbooks."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
import pptx
import xlsxwriter
from docx.document import Document
from docx.shared import Cm
from pptx.util import Cm as SlideCm

from .blocks import AUTHOR, ISSUED, Block

NOTES = "Notes: "
TITLE_LAYOUT, TEXT_LAYOUT, EMPTY_LAYOUT = 0, 1, 5  # of python-pptx's own template


def render_docx(blocks: list[Block]) -> bytes:
    """Build a Word file with heading, list and table styles and return its bytes."""
    document = docx.Document()
    _describe(document.core_properties, blocks[0].text)
    styles = {"title": "Heading 1", "heading": "Heading 2", "bullet": "List Bullet"}
    for block in blocks:
        if block.kind == "table":
            _write_docx_table(document, block.rows)
        elif block.kind != "mark":  # Word breaks pages by itself
            document.add_paragraph(block.text, style=styles.get(block.kind))
    return _saved(document)


def _write_docx_table(document: Document, rows: tuple[tuple[str, ...], ...]) -> None:
    """Append a grid; widths are left to Word."""
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Table Grid")
    _fill(table, rows)
    document.add_paragraph().paragraph_format.space_after = Cm(0.1)


def render_pptx(blocks: list[Block]) -> bytes:
    """Build slides: one for the title, one a heading; a paragraph after `Notes: ` becomes notes of the slide."""
    presentation = pptx.Presentation()
    _describe(presentation.core_properties, blocks[0].text)
    for head, *others in _sections(blocks):
        has_table = any(block.kind == "table" for block in others)
        layout = TITLE_LAYOUT if head.kind == "title" else EMPTY_LAYOUT if has_table else TEXT_LAYOUT
        slide = presentation.slides.add_slide(presentation.slide_layouts[layout])
        slide.shapes.title.text = head.text
        texts = [block.text for block in others if block.kind != "table"]
        shown = [text for text in texts if not text.startswith(NOTES)]
        if shown:
            slide.placeholders[1].text = "\n".join(shown)
        for block in others:
            if block.kind == "table":
                size = (len(block.rows), len(block.rows[0]))
                _fill(slide.shapes.add_table(*size, *map(SlideCm, (1, 5, 23, 8))).table, block.rows)
        if notes := [text.removeprefix(NOTES) for text in texts if text.startswith(NOTES)]:
            slide.notes_slide.notes_text_frame.text = "\n".join(notes)
    used = {slide.slide_layout.name for slide in presentation.slides}
    for unused in [layout for layout in presentation.slide_layouts if layout.name not in used]:
        presentation.slide_layouts.remove(unused)
    return _saved(presentation)


def render_xlsx(blocks: list[Block]) -> bytes:
    """Build a workbook with a sheet a heading: its paragraphs, an empty row, its table."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as workbook:
        workbook.set_properties({"title": blocks[0].text, "author": AUTHOR, "created": ISSUED.replace(tzinfo=None)})
        bold = workbook.add_format({"bold": True})
        for head, *others in _sections(blocks[1:]):
            sheet = workbook.add_worksheet(head.text)
            row = 0
            for block in others:
                if block.kind != "table":
                    sheet.write_string(row, 0, block.text)
                    row += 2
                    continue
                for cells in block.rows:
                    for column, cell in enumerate(cells):
                        sheet.write(row, column, _as_number(cell), bold if cells is block.rows[0] else None)
                    row += 1
    return buffer.getvalue()


def _sections(blocks: list[Block]) -> Iterator[list[Block]]:
    """Cut blocks before each title and heading."""
    section: list[Block] = []
    for block in blocks:
        if block.kind in ("title", "heading") and section:
            yield section
            section = []
        section.append(block)
    yield section


def _as_number(cell: str) -> str | float:
    return float(cell) if re.fullmatch(r"\d+(\.\d+)?", cell) else cell


def _fill(table: Any, rows: tuple[tuple[str, ...], ...]) -> None:
    """Write rows into a table of Word or PowerPoint that has as many rows and columns."""
    for number, cells in enumerate(rows):
        for column, text in enumerate(cells):
            table.cell(number, column).text = text


def _describe(properties: Any, title: str) -> None:
    properties.title = title
    properties.author = properties.last_modified_by = AUTHOR
    properties.comments = ""
    properties.created = properties.modified = ISSUED.replace(tzinfo=None)


def _saved(document: Any) -> bytes:
    """Save a file of python-docx or python-pptx with one date on every part; they stamp the time of saving."""
    saved, packed = io.BytesIO(), io.BytesIO()
    document.save(saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, date_time=ISSUED.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(member, old.read(name))
    return packed.getvalue()
