"""Parser for workbooks (.xlsx and its relatives): each sheet as tables of at most a hundred rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date, time
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.archives import check_archive
from roost.tasks.sources.parsers.document_facts import office_facts
from roost.tasks.sources.parsers.markdown_tables import markdown_table, plain_cell
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import FunctionParser

#: Rows of one block; its heading names the first and the last of them.
_BLOCK_ROWS = 100


def parse_xlsx(data: bytes) -> Parsed:
    """Parse a workbook: the page is the number of the sheet, the heading its name and the rows of the block.

    The first row with more than one cell is the header of its sheet; rows above it are a text. Hidden sheets are left
    out and counted.

    Raises:
        DocumentError: The file is damaged, encrypted or not a workbook.
    """
    import python_calamine as calamine

    if data.startswith(b"PK"):
        check_archive(data, "workbook")
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        blocks: list[TextBlock] = []
        hidden = 0
        for number, sheet in enumerate(workbook.sheets_metadata, start=1):
            if sheet.visible != calamine.SheetVisibleEnum.Visible:
                hidden += 1
            elif sheet.typ == calamine.SheetTypeEnum.WorkSheet:
                rows = workbook.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False)
                blocks.extend(_sheet_blocks(rows, plain_cell(sheet.name), number))
    except calamine.PasswordError:
        raise DocumentError("encrypted", "the workbook needs a password; save a copy without one") from None
    except (MemoryError, RecursionError, ImportError, NameError, AttributeError):
        raise
    except Exception as error:  # noqa: BLE001  calamine has an exception a format, and others for damaged cells
        raise DocumentError("damaged", f"not a readable workbook: {first_line(error)}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust code that met an unexpected file
            raise
        raise DocumentError("damaged", f"not a readable workbook: {first_line(error)}") from None
    facts: dict[str, Any] = dict(office_facts(data)) if data.startswith(b"PK") else {}
    return Parsed(tuple(blocks), "", facts | ({"hidden_sheets": hidden} if hidden else {}))


def _sheet_blocks(rows: Sequence[Sequence[Any]], name: str, number: int) -> Iterator[TextBlock]:
    table = [(row, [_as_text(cell) for cell in cells]) for row, cells in enumerate(rows, start=1)]
    table = [(row, cells) for row, cells in table if any(cells)]
    if not table:
        return
    start = next((n for n, (_, cells) in enumerate(table) if sum(map(bool, cells)) > 1), len(table))
    if start:
        yield TextBlock("\n".join(" ".join(filter(None, cells)) for _, cells in table[:start]), number, heading=name)
    table = table[start:]
    used = [n for n in range(len(table[0][1]) if table else 0) if any(cells[n] for _, cells in table)]
    table = [(row, [cells[n] for n in used]) for row, cells in table]
    header, body = table[:1], table[1:]
    for first in range(0, max(len(body), len(header)), _BLOCK_ROWS):
        part = body[first : first + _BLOCK_ROWS] or header
        lines = [header[0][1], *(cells for _, cells in part if part is not header)]
        yield TextBlock(markdown_table(lines), number, "table", f"{name} > rows {part[0][0]}-{part[-1][0]}")


def _as_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:  # floats are exact below
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, date | time) else plain_cell(str(cell))


PARSER = FunctionParser(
    "xlsx",
    (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ),
    parse_xlsx,
    revision="roost-xlsx 1",
    packages=("python-calamine",),
)
