"""Office files made on the spot: slides, a workbook, a book, a notebook, a mail with attachments."""

from __future__ import annotations

import io
import json
import zipfile
from email.message import EmailMessage
from functools import cache

import docx
import xlsxwriter
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from pptx import Presentation
from pptx.util import Inches


@cache
def _docx_template() -> bytes:
    document = docx.Document()
    for style in list(document.styles):
        if style.type == WD_STYLE_TYPE.TABLE and style.name != "Normal Table":
            style.delete()
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def empty_docx() -> Document:
    """An empty document without the hundred styles of tables of python-docx' own, which take 0.3 s to read."""
    return docx.Document(io.BytesIO(_docx_template()))


def make_pptx() -> bytes:
    presentation = Presentation()
    presentation.core_properties.title = "Harbour plan"
    for number, title in enumerate(["Quay", "Cranes"], start=1):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = f"Body of slide {number}"
        slide.notes_slide.notes_text_frame.text = f"Say this on slide {number}"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "Inside a group"
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(4), Inches(1)).table
    for row, cells in enumerate([("Crane", "Reach"), ("North", "31 m")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    stream = io.BytesIO()
    presentation.save(stream)
    return stream.getvalue()


def make_xlsx(rows: int = 3) -> bytes:
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream) as workbook:
        prices = workbook.add_worksheet("Prices")
        prices.write(0, 0, "Prices of 2021")
        prices.write_row(2, 1, ["Item", "Price", "Since"])
        date = workbook.add_format({"num_format": "yyyy-mm-dd"})
        for row in range(rows):
            prices.write_row(3 + row, 1, [f"rope {row}", row + 0.5 if row else 12])
            prices.write(3 + row, 3, 44197 + row, date)
        workbook.add_worksheet("Empty")
        secret = workbook.add_worksheet("Hidden")
        secret.write(0, 0, "unseen")
        secret.hide()
        workbook.add_worksheet("Notes").write(0, 0, "Only this | line")
    return stream.getvalue()


def make_epub() -> bytes:
    chapters = {"one.xhtml": "<h1>Departure</h1><p>They left at dawn.</p>", "two.xhtml": "<p>Rain fell &amp; fell.</p>"}
    package = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
      <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Crossing</dc:title>
      <dc:creator>A. Writer</dc:creator><dc:language>en</dc:language><dc:date>1999-05-01</dc:date></metadata>
      <manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
      <item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>
      <item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/></manifest>
      <spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
    nav = """<html xmlns="http://www.w3.org/1999/xhtml"><body><nav><ol><li><a href="text/one.xhtml">Departure</a></li>
      <li><a href="text/two.xhtml#top">Weather</a></li></ol></nav></body></html>"""
    container = '<container><rootfiles><rootfile full-path="EPUB/book.opf"/></rootfiles></container>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", container)
        book.writestr("EPUB/book.opf", package)
        book.writestr("EPUB/nav.xhtml", nav)
        for name, body in chapters.items():
            book.writestr(f"EPUB/text/{name}", f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>')
    return stream.getvalue()


def make_ipynb() -> bytes:
    outputs = [
        {"output_type": "stream", "text": ["42 boats\n"]},
        {"output_type": "execute_result", "data": {"text/plain": "3.5", "image/png": "aGFsbG8="}},
        {"output_type": "error", "traceback": ["\x1b[31mValueError\x1b[0m: no tide"]},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Boats\n", "\n", "How many there are."]},
        {"cell_type": "code", "source": "print(count)  # ``` ", "outputs": outputs},
    ]
    metadata = {"language_info": {"name": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}).encode()


def make_mail(**files: bytes) -> bytes:
    message = EmailMessage()
    message["Subject"] = "Berth for the Grüne Möwe"
    message["From"] = "Harbour Office <office@example.org>"
    message["To"] = "crew@example.org"
    message["Date"] = "Mon, 01 Nov 2021 10:00:00 +0000"
    message["Message-ID"] = "<berth-1@example.org>"
    message.set_content("The berth is free from noon.\n")
    message.add_alternative("<p>The berth is <b>free</b> from noon.</p>", subtype="html")
    for name, data in files.items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


def make_mbox(*mails: bytes) -> bytes:
    return b"".join(b"From crew@example.org Mon Nov  1 10:00:00 2021\n" + mail + b"\n\n" for mail in mails)
