"""Parser for workbooks (.xlsx and its relatives): each sheet as tables of at most a hundred rows."""

from __future__ import annotations

import io
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.archives import check_archive
from roost.tasks.sources.parsers.document_facts import office_facts, office_title
from roost.tasks.sources.parsers.markdown_tables import plain_cell
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.parsers.sheet_limits import check_rows, check_sheets, check_size
from roost.tasks.sources.parsers.sheet_tables import sheet_blocks

_UNREADABLE_ODS = "it is damaged, or a sheet has cells far from its tables: delete them, or save the tables as CSV"


def parse_xlsx(data: bytes) -> Parsed:
    """Parse a workbook: the page is the number of the sheet, the heading its name and the rows of the block.

    Hidden sheets are left out and counted; the limits of size are those of the others.

    Raises:
        DocumentError: The file is damaged, encrypted, too large or not a workbook.
    """
    import python_calamine as calamine

    is_archive = data.startswith(b"PK")
    if is_archive:
        check_archive(data, "workbook")
    try:
        if is_archive:
            check_sheets(data)
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        blocks: list[TextBlock] = []
        hidden = row_count = 0
        for number, info in enumerate(workbook.sheets_metadata, start=1):
            if info.visible != calamine.SheetVisibleEnum.Visible:
                hidden += 1
            elif info.typ == calamine.SheetTypeEnum.WorkSheet:
                sheet = workbook.get_sheet_by_name(info.name)
                check_size(sheet.height, sheet.width)
                rows, merged = sheet.to_python(skip_empty_area=False), sheet.merged_cell_ranges or ()
                row_count += sum(map(any, rows))
                check_rows(row_count)
                blocks.extend(sheet_blocks(rows, plain_cell(info.name), number, merged))
    except calamine.PasswordError:
        raise DocumentError("encrypted", "the workbook needs a password; save a copy without one") from None
    except (MemoryError, RecursionError, ImportError, NameError, AttributeError, DocumentError):
        raise
    except Exception as error:  # noqa: BLE001  calamine has an exception a format, and others for damaged cells
        # The reader of .ods refuses a sheet that is too large as it refuses a damaged file, without a reason.
        why = _UNREADABLE_ODS if b"opendocument.spreadsheet" in data[:100] else first_line(error)
        raise DocumentError("damaged", f"not a readable workbook: {why}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust code that met an unexpected file
            raise
        raise DocumentError("damaged", f"not a readable workbook: {first_line(error)}") from None
    facts: dict[str, Any] = dict(office_facts(data)) if is_archive else {}
    title = office_title(data) if is_archive else ""
    return Parsed(tuple(blocks), title, facts | ({"hidden_sheets": hidden} if hidden else {}))


PARSER = FunctionParser(
    "xlsx",
    (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ),
    parse_xlsx,
    revision="roost-xlsx 3",
    packages=("python-calamine",),
)
