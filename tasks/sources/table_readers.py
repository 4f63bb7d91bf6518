"""Readers of table files, row by row: CSV, TSV, JSON lines, Parquet. A broken row is yielded as an error."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from roost.tasks.errors import DocumentError
from roost.tasks.sources.text_encoding import detect_encoding

#: A row of a table: column name to value.
TableRow = dict[str, Any]

#: Key under which a broken row carries its `DocumentError`; see `row_error`.
ERROR = ""

#: Rows of a Parquet file in memory at once.
_PARQUET_ROWS = 10_000
_MAX_CELL_CHARACTERS = 2**31 - 1


def row_error(row: TableRow) -> DocumentError | None:
    """Give the error of a broken row; None where the row was read. A column may have the name `ERROR` too."""
    error = row.get(ERROR)
    return error if isinstance(error, DocumentError) else None


def _read_csv(file: Path) -> Iterator[TableRow]:
    """Read a CSV row by row; a row whose width differs from the header's carries an error under `ERROR`."""
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        with file.open(encoding=detect_encoding(file), newline="", errors="replace") as stream:
            first = next((line for line in stream if line.strip()), "")
            stream.seek(0)
            delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
            rows = _split_csv(stream, delimiter)
            header = _distinct_names(next((values for _, values in rows if any(values)), []))
            for line, values in rows:
                if not values:
                    continue
                row: TableRow = dict(zip(header, values, strict=False))
                if len(values) != len(header):
                    detail = f"not {len(header)} fields as in the header, but {len(values)} (line {line})"
                    row[ERROR] = DocumentError("bad_row", detail)
                yield row
    except (OSError, csv.Error) as error:
        raise DocumentError("unreadable" if isinstance(error, OSError) else "damaged", str(error)) from None


def _split_csv(stream: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the number of their last line.

    Raises:
        DocumentError: A quote never closes; `csv` would take all rows below it for one cell.
    """
    quotes: list[int] = []

    def counted() -> Iterator[str]:
        for line in stream:
            quotes.append(line.count('"'))
            yield line

    rows = csv.reader(counted(), delimiter=delimiter)
    last: list[int] = []
    for values in rows:
        last = quotes.copy()
        quotes.clear()
        yield rows.line_num, values
    if len(last) > 1 and sum(last) % 2:
        raise DocumentError("damaged", f"a quote that opens in line {rows.line_num - len(last) + 1} never closes")


def _distinct_names(header: list[str]) -> list[str]:
    """Name columns so that no two have the same name: empty ones `column_3`, repeated ones `note_4`."""
    names: list[str] = []
    for i, name in enumerate(header, start=1):
        plain = name.strip() or f"column_{i}"
        names.append(f"{plain}_{i}" if plain in names else plain)
    return names


def _read_jsonl(file: Path) -> Iterator[TableRow]:
    """Read JSON lines; a line that is not an object carries an error under `ERROR`."""
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _parse_json_line(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, number)
    except OSError as error:
        raise DocumentError("unreadable", str(error)) from None


def _parse_json_line(line: bytes, number: int) -> TableRow:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {ERROR: DocumentError("bad_row", f"not JSON: {error} (line {number})")}
    return row if isinstance(row, dict) else {ERROR: DocumentError("bad_row", f"not a JSON object (line {number})")}


def _read_parquet(file: Path) -> Iterator[TableRow]:
    lazy = pl.scan_parquet(file)
    try:
        for first in count(0, _PARQUET_ROWS):
            frame = lazy.slice(first, _PARQUET_ROWS).collect()
            if not frame.height:
                return
            yield from frame.iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise DocumentError("damaged", str(error).splitlines()[0][:200]) from None
    except OSError as error:
        raise DocumentError("unreadable", str(error)) from None


#: Reader by suffix. A new kind of table is a reader here and one line.
READERS: dict[str, Callable[[Path], Iterator[TableRow]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
