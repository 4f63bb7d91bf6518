"""Readers of table files, row by row: CSV, TSV, JSON lines, Parquet. A broken row is yielded as an error."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from os import SEEK_END
from pathlib import Path
from typing import IO, Any, AnyStr

import orjson
import polars as pl

from roost.tasks.errors import DocumentError
from roost.tasks.sources.text_encoding import detect_encoding

#: A row of a table: column name to value.
TableRow = dict[str, Any]

#: Key under which a broken row carries its `DocumentError`; see `row_error`.
ERROR = ""

#: Longest line of a table, and longest cell of a CSV: bytes or characters.
MAX_LINE_LENGTH = 64 * 2**20
#: Rows of a Parquet file in memory at once: as many as have so many bytes, judged by the first ones.
_PARQUET_ROWS = 10_000
_PARQUET_BYTES = 64 * 2**20
_PARQUET_SAMPLE_ROWS = 100

#: Share of the rows whose last field ends as a sentence does, from which one that does not looks cut.
_MIN_SENTENCES = 0.8
_SENTENCE_ENDS = tuple(".!?…:;)\"'”»。")


def row_error(row: TableRow) -> DocumentError | None:
    """Give the error of a broken row; None where the row was read. A column may have the name `ERROR` too."""
    error = row.get(ERROR)
    return error if isinstance(error, DocumentError) else None


def _read_csv(file: Path) -> Iterator[TableRow]:
    """Read a CSV row by row; a row whose width differs from the header's carries an error under `ERROR`.

    So does the last row where the file looks cut in it, as by an upload under way. Empty rows are left out.
    """
    csv.field_size_limit(MAX_LINE_LENGTH)
    ends = _RowEnds()
    last: TableRow | None = None
    try:
        with file.open(encoding=detect_encoding(file), newline="", errors="replace") as stream:
            first = next((line for line in _limited_lines(stream) if line.strip()), "")
            stream.seek(0)
            delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
            rows = _split_csv(_limited_lines(stream), delimiter)
            header = _distinct_names(next((values for _, values in rows if any(values)), []))
            for line, values in rows:
                if not any(map(str.strip, values)):
                    continue
                if last is not None:
                    yield last
                last = dict(zip(header, values, strict=False))
                if len(values) != len(header):
                    detail = f"not {len(header)} fields as in the header, but {len(values)} (line {line})"
                    last[ERROR] = DocumentError("bad_row", detail)
                ends.add(values[-1])
        if last is not None:
            if ERROR not in last and ends.looks_cut() and not _ends_whole(file):
                detail = "the table ends in this row, without a line end, and its last field looks cut"
                last[ERROR] = DocumentError("bad_row", detail)
            yield last
    except (OSError, csv.Error) as error:
        raise DocumentError("unreadable" if isinstance(error, OSError) else "damaged", str(error)) from None


@dataclass
class _RowEnds:
    """The last fields of a table's rows: the newest one, and of those before how long and how many of what kind."""

    newest: str = ""
    count: int = -1
    shortest: int = 0
    sentences: int = 0

    def add(self, field: str) -> None:
        if self.count >= 0:
            self.shortest = min(self.shortest, len(self.newest)) if self.count else len(self.newest)
            self.sentences += self.newest.rstrip().endswith(_SENTENCE_ENDS)
        self.count += 1
        self.newest = field

    def looks_cut(self) -> bool:
        """Whether the newest field alone does not end as a sentence; where the others do not, if it is the shortest."""
        if not self.count:
            return False
        if self.sentences > _MIN_SENTENCES * self.count:
            return not self.newest.rstrip().endswith(_SENTENCE_ENDS)
        return len(self.newest) < self.shortest


def _ends_whole(file: Path) -> bool:
    """Whether a CSV ends with a line end or with a quote."""
    with file.open("rb") as stream:
        stream.seek(-min(4, file.stat().st_size), SEEK_END)
        return stream.read().rstrip(b"\0")[-1:] in (b"\n", b"\r", b'"')


def _limited_lines(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """Yield the lines of a file.

    Raises:
        DocumentError: A line is too long to be in memory.
    """
    for number in count(1):
        line = stream.readline(MAX_LINE_LENGTH + 1)
        if len(line) > MAX_LINE_LENGTH:
            raise DocumentError("too_large", f"line {number} is longer than {MAX_LINE_LENGTH // 2**20} MiB")
        if not line:
            return
        yield line


def _split_csv(stream: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the number of their last line.

    Raises:
        DocumentError: A row is too long to be in memory; or a quote never closes, and `csv` would take all rows below
            it for one cell.
    """
    quotes: list[int] = []
    length = 0

    def counted() -> Iterator[str]:
        nonlocal length
        for number, line in enumerate(stream, start=1):
            quotes.append(line.count('"'))
            length += len(line)
            if length > MAX_LINE_LENGTH:
                first = number - len(quotes) + 1
                raise DocumentError(
                    "too_large", f"the row of line {first} is longer than {MAX_LINE_LENGTH // 2**20} MiB"
                )
            yield line

    rows = csv.reader(counted(), delimiter=delimiter)
    last: list[int] = []
    for values in rows:
        last = quotes.copy()
        quotes.clear()
        length = 0
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
            for number, line in enumerate(_limited_lines(stream), start=1):
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
    lazy = pl.scan_parquet(file, glob=False)
    try:
        first, size = 0, _PARQUET_SAMPLE_ROWS
        while (frame := lazy.slice(first, size).collect()).height:
            yield from frame.iter_rows(named=True)
            first += frame.height
            size = max(1, min(_PARQUET_ROWS, _PARQUET_BYTES * frame.height // max(1, int(frame.estimated_size()))))
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
