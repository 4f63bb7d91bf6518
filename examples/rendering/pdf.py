"""PDF files: text in one or two columns, and pages that are pictures of text."""

from __future__ import annotations

import pypdfium2
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace
from PIL import Image

from .blocks import AUTHOR, ISSUED, Block

A5 = (148, 210)  # millimetres; by name, fpdf2 warns that it once had them wrong
A6 = (105, 148)
SCAN_RESOLUTION = 150  # pixels per inch
SCAN_TILT = 0.6  # degrees


class Page(FPDF):
    """An A5 page of the handbook, with the running foot that printed manuals carry."""

    def footer(self) -> None:
        """Print title and page number; text that a good reader of PDFs may well drop."""
        self.set_y(-14)
        self.set_font("Helvetica", size=8)
        self.cell(0, 5, f"{AUTHOR} - {self.title} - page {self.page_no()}", align="C")


def render_pdf(blocks: list[Block]) -> bytes:
    """Set blocks on pages and return the file's bytes; a mark `columns` or `scan` says how."""
    marks = {block.text for block in blocks if block.kind == "mark"}
    if "scan" in marks:
        return _render_scan(blocks)
    pdf = Page(format=A5)
    _describe(pdf, blocks[0].text)
    pdf.set_margins(15, 13)
    pdf.set_auto_page_break(True, margin=17)
    pdf.add_page()
    if "columns" in marks:
        _write_columns(pdf, blocks)
    else:
        for block in blocks:
            _write_block(pdf, block)
    return bytes(pdf.output())


def _describe(pdf: FPDF, title: str) -> None:
    pdf.set_title(title)
    pdf.set_author(AUTHOR)
    pdf.set_lang("en")
    pdf.set_creation_date(ISSUED)


def _write_block(pdf: Page, block: Block) -> None:
    """Append one block at the current position, in a built-in font (Latin-1 only)."""
    if block.kind == "mark":
        pdf.add_page()
    elif block.kind == "table":
        _write_table(pdf, block.rows)
    elif block.kind == "title":
        _write_text(pdf, block.text, size=15, style="B")
    elif block.kind == "heading":
        pdf.ln(0.8)
        _write_text(pdf, block.text, size=11, style="B")
    elif block.kind == "bullet":
        _write_text(pdf, f"- {block.text}", indent=3)
    else:
        _write_text(pdf, block.text, indent=3 if block.kind == "number" else 0)


def _write_text(pdf: Page, text: str, *, size: float = 9, style: str = "", indent: float = 0) -> None:
    """Write one wrapped paragraph; size in points, indent in millimetres.

    Left-aligned: justified lines are spaced by moving the pen, which readers take for gaps.
    """
    pdf.set_font("Helvetica", style=style, size=size)
    pdf.set_x(pdf.l_margin + indent)
    pdf.multi_cell(0, size * 0.47, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(1.2)


def _write_table(pdf: Page, rows: tuple[tuple[str, ...], ...]) -> None:
    """Draw a ruled table, each column as wide as its longest cell asks for, within bounds.

    Below eight characters a one-word header would be broken inside the word.
    """
    pdf.set_font("Helvetica", size=8.5)
    widths = tuple(min(max(8, *map(len, column)), 40) + 2 for column in zip(*rows, strict=True))
    bold = FontFace(emphasis="BOLD")
    with pdf.table(rows, col_widths=widths, headings_style=bold, line_height=4, padding=0.6, text_align="LEFT"):
        pass
    pdf.ln(2)


def _write_columns(pdf: Page, blocks: list[Block]) -> None:
    """Write the title over the whole width, then the other blocks in two columns."""
    title, *others = blocks
    _write_block(pdf, title)
    with pdf.text_columns(ncols=2, gutter=8, text_align="L", line_height=1.25) as columns:
        for block in others:
            if block.kind != "mark":
                is_heading = block.kind == "heading"
                pdf.set_font("Helvetica", style="B" if is_heading else "", size=10 if is_heading else 8.5)
                with columns.paragraph(bottom_margin=1.5) as paragraph:
                    paragraph.write(block.text)


def _render_scan(blocks: list[Block]) -> bytes:
    """Typewrite blocks on an A6 page, and return a PDF with a black and white picture of it, not quite straight."""
    typed = FPDF(format=A6)
    typed.set_margins(12, 14)
    typed.add_page()
    typed.set_font("Courier", size=9)
    for block in blocks:
        if block.kind != "mark":
            typed.multi_cell(0, 4.5, block.text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            typed.ln(3)
    page = pypdfium2.PdfDocument(bytes(typed.output()))[0]
    picture = page.render(scale=SCAN_RESOLUTION / 72).to_pil().convert("L")
    tilted = picture.rotate(SCAN_TILT, resample=Image.Resampling.BICUBIC, fillcolor=255)
    scan = FPDF(format=A6)
    scan.set_creation_date(ISSUED)
    scan.add_page()
    scan.image(tilted.convert("1", dither=Image.Dither.NONE), 0, 0, *A6)
    return bytes(scan.output())
