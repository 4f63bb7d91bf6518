"""Read a table row by row: CSV, JSON lines, Parquet. A broken row is handed on, it does not end the reading."""

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
from roost.tasks.sources.text_encoding import text_encoding

Row = dict[str, Any]

#: A row that is broken holds a `DocumentError` under this name, which no column can have.
ERROR = ""

_PAGE = 10_000  # rows of Parquet in memory at once


def _read_csv(file: Path) -> Iterator[Row]:
    """Read a CSV row by row. A row of another width is handed on as an error under the name `ERROR`."""
    csv.field_size_limit(2**31 - 1)
    try:
        with file.open(encoding=text_encoding(file), newline="", errors="replace") as stream:
            head = next((line for line in stream if line.strip()), "")
            stream.seek(0)
            delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t|", key=head.count)
            rows = _csv_rows(stream, delimiter)
            header = _named(next((values for _, values in rows if any(values)), []))
            for line, values in rows:
                if not values:
                    continue
                row: Row = dict(zip(header, values, strict=False))
                if len(values) != len(header):
                    wrong = f"not {len(header)} fields as in the header, but {len(values)} (line {line})"
                    row[ERROR] = DocumentError("bad_row", wrong)
                yield row
    except (OSError, csv.Error) as error:
        raise DocumentError("unreadable" if isinstance(error, OSError) else "damaged", str(error)) from None


def _csv_rows(stream: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
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


def _named(header: list[str]) -> list[str]:
    """Give every column a name of its own, so that none hides another."""
    names: list[str] = []
    for i, name in enumerate(header, start=1):
        plain = name.strip() or f"column_{i}"
        names.append(f"{plain}_{i}" if plain in names else plain)
    return names


def _read_jsonl(file: Path) -> Iterator[Row]:
    """Read JSON lines. A line that is no object is handed on as an error under the name `ERROR`."""
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    row = orjson.loads(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                except orjson.JSONDecodeError as error:
                    row = DocumentError("bad_row", f"not JSON: {error} (line {number})")
                if not isinstance(row, dict | DocumentError):
                    row = DocumentError("bad_row", f"not a JSON object (line {number})")
                yield {ERROR: row} if isinstance(row, DocumentError) else row
    except OSError as error:
        raise DocumentError("unreadable", str(error)) from None


def _read_parquet(file: Path) -> Iterator[Row]:
    lazy = pl.scan_parquet(file)
    try:
        for first in count(0, _PAGE):
            frame = lazy.slice(first, _PAGE).collect()
            if not frame.height:
                return
            yield from frame.iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise DocumentError("damaged", str(error).splitlines()[0][:200]) from None
    except OSError as error:
        raise DocumentError("unreadable", str(error)) from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
