"""Parser for slides (.pptx): titles, texts, tables, charts and notes of each slide, in the order of the slides."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.archives import check_archive
from roost.tasks.sources.parsers.document_facts import office_facts
from roost.tasks.sources.parsers.markdown_tables import markdown_table, plain_cell, value_cell
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import clean

#: Deepest nesting of groups of shapes that is read.
_MAX_DEPTH = 20


def parse_pptx(data: bytes) -> Parsed:
    """Parse slides: the page is the number of the slide, the heading its title.

    Raises:
        DocumentError: The file is damaged or not a .pptx.
    """
    import pptx

    check_archive(data, ".pptx")
    try:
        presentation = pptx.Presentation(io.BytesIO(data))
        blocks = [
            block for number, slide in enumerate(presentation.slides, 1) for block in _slide_blocks(slide, number)
        ]
        title = plain_cell(presentation.core_properties.title or "")
    except (MemoryError, RecursionError, ImportError, NameError):
        raise
    except Exception as error:  # noqa: BLE001  on a damaged file python-pptx raises almost any exception
        raise DocumentError("damaged", f"not a readable .pptx: {type(error).__name__}: {first_line(error)}") from None
    title = title or next((block.heading for block in blocks if block.heading), "")
    return Parsed(tuple(blocks), title, {"pages": len(presentation.slides), **office_facts(data)})


def _slide_blocks(slide: Any, number: int) -> Iterator[TextBlock]:
    """Make the blocks of a slide: title and texts, each table and chart, notes; an empty slide has one empty block."""
    title_shape = slide.shapes.title
    title = plain_cell(title_shape.text_frame.text) if title_shape is not None else ""
    texts, tables = [title] if title else [], []
    for shape in _shapes(slide.shapes):
        if title_shape is not None and shape.shape_id == title_shape.shape_id:
            continue
        if getattr(shape, "has_table", False):
            tables.append([[plain_cell(cell.text) for cell in row.cells] for row in shape.table.rows])
        elif getattr(shape, "has_chart", False):
            tables.append(_chart_rows(shape.chart))
        elif getattr(shape, "has_text_frame", False):
            texts.append(_text(shape.text_frame))
    yield TextBlock("\n\n".join(filter(None, texts)), number, heading=title)
    for rows in tables:
        if rows and any(map(any, rows)):
            yield TextBlock(markdown_table(rows), number, "table", title)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and (text := _text(notes)):
        yield TextBlock(text, number, heading=f"{title} > Notes" if title else "Notes")


def _chart_rows(chart: Any) -> list[list[str]]:
    """Give a chart as a table: its title and the names of its series, then a row a category."""
    title = (
        plain_cell(chart.chart_title.text_frame.text) if chart.has_title and chart.chart_title.has_text_frame else ""
    )
    series = [one for plot in chart.plots for one in plot.series]
    labels = [plain_cell(str(label)) for plot in chart.plots[:1] for label in plot.categories]
    columns = [["" if value is None else value_cell(value) for value in one.values] for one in series]
    rows = zip_longest(labels, *columns, fillvalue="")
    return [[title, *(plain_cell(one.name) for one in series)], *map(list, rows)]


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < _MAX_DEPTH:
            yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _text(frame: Any) -> str:
    return clean("\n".join(paragraph.text.replace("\v", "\n") for paragraph in frame.paragraphs)).strip()


PARSER = FunctionParser(
    "pptx",
    (".pptx", ".pptm"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation",),
    parse_pptx,
    revision="roost-pptx 2",
    packages=("python-pptx",),
)
