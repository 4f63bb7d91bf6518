"""Tables whose rows are documents: CSV, JSON lines and Parquet, compressed or not.

A table is read once. Its rows are written to the spool in parts, Parquet files of a temporary folder, from which the
batches read theirs: memory stays flat, and a broken row refuses itself and not the table.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, NamedTuple

import orjson
import polars as pl
from fsspec.compression import compr
from fsspec.utils import infer_compression

from roost.tasks.errors import DocumentError, SourceError, unknown_value
from roost.tasks.ids import digest, doc_id
from roost.tasks.locations import local_path, open_location
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.source import Columns
from roost.tasks.sources.table_readers import READERS, TableRow, row_error
from roost.tasks.sources.table_uris import is_compressed, table_kind
from roost.tasks.sources.text_template import fill_text, text_columns

#: Rows in one part of the spool, and characters of them: as much of a table is in memory at once while it is listed.
PART_ROWS = 2_000
PART_CHARACTERS = 16_000_000

#: Column names, lower case, by which the columns of a table are recognised; the first that is there is taken.
_ID_NAMES = ("id", "_id", "doc_id", "docid", "key", "uuid", "slug", "commit")
_TITLE_NAMES = ("title", "headline", "subject", "name", "question", "change summary", "heading")
_TEXT_NAMES = (
    *("text", "content", "body", "abstract", "answer", "passage", "document", "description", "message"),
    *("change details", "summary", "plot", "notes"),
)
#: Average length from which a column with an unknown name is taken for text, characters.
_MIN_TEXT_CHARACTERS = 20
_MAX_ID_CHARACTERS = 1000
_COPY_BYTES = 1 << 20
#: Numbers of the errors that mean that a disk, a quota or a limit is used up.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: A row in the spool; `metadata` is a JSON object.
_SPOOLED = pl.Schema({"title": pl.String, "text": pl.String, "metadata": pl.String})


class TableListing(NamedTuple):
    """The documents of one table.

    documents: Frame of `DOCUMENT`.
    is_complete: Whether every row could be identified; if not, rows of the index may not be called missing.
    """

    documents: pl.DataFrame
    is_complete: bool


def is_table(name: str) -> bool:
    """Whether a file's rows are documents, by its suffix."""
    return table_kind(name) in READERS


def list_rows(
    location: str, source: str, uri: str, columns: Columns, spool: Path, max_copied_mb: int = 8192
) -> TableListing:
    """List a table's rows and write their text to the spool. Rows without any value are left out.

    Args:
        location: The table.
        source: Key of the source.
        uri: The table's path relative to the source.
        columns: Chosen columns.
        spool: Folder for the parts.
        max_copied_mb: MiB that the local copy of a compressed or remote table may have.

    Raises:
        SourceError: A chosen column is not there.
        DocumentError: The file is damaged, empty or too large, or no column contains text.
    """
    name = local_path(location) or uri  # a URL may end with a query
    file, is_copy = _local_file(location, name, spool, max_copied_mb)
    rows = ((number, row) for number, row in enumerate(READERS[table_kind(name)](file), start=1) if not _is_blank(row))
    parts: list[TableListing] = []
    seen: dict[str, int] = {}
    found: Columns | None = None
    is_end_broken = False
    while numbered := _take_part(rows):
        found = found or find_columns(_readable_rows([row for _, row in numbered]), columns, uri)
        part = spool / f"{_spool_name(location)}-{len(parts):06d}.parquet"
        parts.append(_spool_part(numbered, found, source, uri, seen, part))
        is_end_broken = row_error(numbered[-1][1]) is not None
    if not parts:
        raise DocumentError("empty", "the table has no rows")
    if is_copy:
        file.unlink()
    is_complete = all(part.is_complete for part in parts) and not is_end_broken  # it may be cut in its last row
    return TableListing(pl.concat(part.documents for part in parts), is_complete)


def clear_spool(location: str, spool: Path) -> None:
    """Delete what a table that could not be listed has left in the spool."""
    for file in spool.glob(f"{_spool_name(location)}*"):
        file.unlink()


def read_rows(documents: pl.DataFrame) -> pl.DataFrame:
    """Read the text of table rows from the spool.

    Args:
        documents: Frame with at least `doc_id`, `spool` and `row`.

    Returns:
        Frame of `title`, `text`, `metadata` and `doc_id`, a row a document.
    """
    parts = []
    for (part,), wanted in documents.group_by("spool", maintain_order=True):
        spooled = pl.read_parquet(str(part), glob=False)[wanted["row"].to_list()]
        parts.append(spooled.with_columns(wanted["doc_id"]))
    return pl.concat(parts) if parts else _SPOOLED.to_frame().with_columns(doc_id=pl.lit(""))


def find_columns(rows: list[TableRow], chosen: Columns, uri: str) -> Columns:
    """Decide which columns contain id, title, text and metadata.

    Raises:
        SourceError: A chosen column is not there.
        DocumentError: No column contains text.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = text_columns(chosen.text, names) if chosen.text else []
    for wanted in filter(None, (chosen.id, chosen.title, chosen.cursor, *texts, *(chosen.metadata or []))):
        if wanted not in names:
            raise SourceError(f"{uri}: {unknown_value('column', wanted, names)}")
    text = chosen.text or _find_by_name(names, _TEXT_NAMES) or _find_by_length(rows, names)
    if not text:
        raise DocumentError("no_text", f"no column contains text; choose one with --text-column ({', '.join(names)})")
    taken = texts or [text]
    title = chosen.title or _find_by_name([name for name in names if name not in taken], _TITLE_NAMES)
    key = chosen.id or _find_by_name([name for name in names if name not in (*taken, title)], _ID_NAMES)
    rest = [name for name in names if name and name not in (*taken, title, key, chosen.cursor)]
    metadata = rest if chosen.metadata is None else chosen.metadata
    return Columns(id=key, title=title, text=text, metadata=metadata, cursor=chosen.cursor)


def _readable_rows(rows: list[TableRow]) -> list[TableRow]:
    """Drop broken rows; when all are broken, the first one's error is the table's.

    Raises:
        DocumentError: No row can be read.
    """
    readable = [row for row in rows if row_error(row) is None]
    if not readable and (error := row_error(rows[0])):
        raise DocumentError("damaged", f"no row can be read, the first because: {error.detail}")
    return readable


def _take_part(rows: Iterator[tuple[int, TableRow]]) -> list[tuple[int, TableRow]]:
    """Take the rows of one part: as many as their number and their size allow, at least one."""
    part, size = [], 0
    for numbered in rows:
        part.append(numbered)
        size += sum(len(value) for value in numbered[1].values() if isinstance(value, str))
        if len(part) >= PART_ROWS or size >= PART_CHARACTERS:
            break
    return part


def _is_blank(row: TableRow) -> bool:
    """Whether no column of a row has a value; a broken row has an error."""
    return all(value is None or (isinstance(value, str) and not value.strip()) for value in row.values())


def _find_by_name(names: list[str], known: Iterable[str]) -> str:
    lowered = {name.lower().strip(): name for name in reversed(names)}
    return next((lowered[name] for name in known if name in lowered), "")


def _find_by_length(rows: list[TableRow], names: list[str]) -> str:
    """Find the column with the longest values of several words on average; empty when no column is long enough."""

    def average(name: str) -> float:
        texts = [row[name] for row in rows if isinstance(row.get(name), str)]
        return sum(len(text) for text in texts if " " in text) / max(len(texts), 1)

    best = max(names, key=average, default="")
    return best if best and average(best) >= _MIN_TEXT_CHARACTERS else ""


def _spool_part(
    numbered: Iterable[tuple[int, TableRow]], columns: Columns, source: str, uri: str, seen: dict[str, int], part: Path
) -> TableListing:
    """List some rows and write their text to a part of the spool.

    Args:
        numbered: Rows with their number in the table, from 1.
        columns: Found columns.
        source: Key of the source.
        uri: The table's path relative to the source.
        seen: Names of the rows before, see `_take_name`; these rows' names are added.
        part: File to write.

    Raises:
        DocumentError: There is no space left.
    """
    listed, spooled, is_complete = [], [], True
    for index, (number, row) in enumerate(numbered):
        document, reason = _read_document(row, columns)
        given = as_text(row.get(columns.id)).strip()[:_MAX_ID_CHARACTERS] if columns.id else ""
        is_unidentified = row_error(row) is not None and not given
        if given in seen:
            reason = reason or f"bad_row: id {given!r} appears again"
        is_complete = is_complete and not is_unidentified
        by_line = f"line-{number}" if given in seen or is_unidentified else ""
        address = f"{uri}#{_take_name(by_line or given or _digest(document, 8), seen)}"
        listed.append(
            {
                "doc_id": doc_id(source, address),
                "source": source,
                "uri": address,
                "location": "",
                "size": len((document["title"] + document["text"]).encode()),
                "modified": "",
                "fingerprint": "",
                "content_hash": _digest(document, 16),
                "spool": str(part),
                "row": index,
                "reason": reason,
            }
        )
        spooled.append(document)
    write_part(spooled, part)
    return TableListing(pl.DataFrame(listed, schema=DOCUMENT), is_complete)


def write_part(documents: Sequence[Mapping[str, str]], part: Path) -> None:
    """Write titles, texts and metadata to a part of the spool.

    Raises:
        DocumentError: There is no space left.
    """
    try:
        pl.DataFrame(documents, schema=_SPOOLED).write_parquet(part)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _no_space(part.parent, error) from None


def _take_name(wanted: str, seen: dict[str, int]) -> str:
    """Take a name that no row before has: equal rows without an id get -2, -3 and so on.

    Args:
        wanted: Name of the row, if it is free.
        seen: Of each name that is taken, the number to try next; the taken one is added.
    """
    number = seen.get(wanted, 1)
    while (free := wanted if number == 1 else f"{wanted}-{number}") in seen:
        number += 1
    seen[wanted] = number + 1
    seen.setdefault(free, 2)
    return free


def _digest(document: dict[str, str], size: int) -> str:
    return digest(orjson.dumps(document), size)


def _read_document(row: TableRow, columns: Columns) -> tuple[dict[str, str], str]:
    """Read a row's title, text and metadata (a JSON object), and why it is refused; empty when it is not."""
    if error := row_error(row):
        return {"title": "", "text": "", "metadata": "{}"}, str(error)
    text = fill_text(columns.text, list(row), lambda name: as_text(row.get(name)))
    title = as_text(row.get(columns.title))
    metadata = {name: row[name] for name in columns.metadata or [] if row.get(name) not in (None, "")}
    document = {
        "title": title,
        "text": text,
        "metadata": orjson.dumps(metadata, default=str, option=orjson.OPT_NON_STR_KEYS).decode(),
    }
    filled = text.strip() or title.strip()  # a row with a title alone can be searched by it
    return document, "" if filled else f"empty: column {columns.text!r} of the row is empty"


def as_text(value: Any) -> str:
    """Give the value of a column as text that can be stored; empty where there is none."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.replace("\0", "").encode("utf-8", errors="replace").decode()


def _spool_name(location: str) -> str:
    """Give the beginning of the names of a table's files in the spool."""
    return digest(location.encode(), 6)


def _local_file(location: str, name: str, spool: Path, max_copied_mb: int) -> tuple[Path, bool]:
    """Give an uncompressed local file of the table: the file itself, or a copy in the spool, and whether it is one.

    Raises:
        DocumentError: It cannot be read or decompressed, or is too large.
    """
    path, has_codec = local_path(location), is_compressed(name)
    if path is not None and not has_codec:
        if not Path(path).is_file():  # it was one when it was listed
            raise DocumentError("unreadable", "it is gone, or no longer a file")
        return Path(path), False
    copy = spool / f"{_spool_name(location)}{table_kind(name)}"
    try:
        with open_location(location) as raw, copy.open("wb") as target:
            _copy(_decompressed(raw, PurePosixPath(name)) if has_codec else raw, target, max_copied_mb)
    except DocumentError:
        raise
    except Exception as error:  # noqa: BLE001  each compression and each filesystem raises its own exceptions
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise _no_space(spool, error) from None
        raise DocumentError("unreadable", describe_error(error)) from None
    return copy, True


def _copy(stream: IO[bytes], target: IO[bytes], max_mb: int) -> None:
    size = 0
    while block := stream.read(_COPY_BYTES):
        size += len(block)
        if size > max_mb * 2**20:
            raise DocumentError(
                "too_large", f"it has more than {max_mb} MiB when uncompressed; ROOST_INGEST__TABLE_MB allows more"
            )
        target.write(block)


def _decompressed(raw: IO[bytes], name: PurePath) -> IO[bytes]:
    codec = infer_compression(name.name)
    if codec is None:
        raise DocumentError("unreadable", f"no package is installed that decompresses {name.suffix} files")
    stream: IO[bytes] = compr[codec](raw, mode="rb")
    return stream


def _no_space(spool: Path, error: Exception) -> DocumentError:
    return DocumentError(
        "unreadable",
        f"its rows cannot be written to {spool}: {str(error).splitlines()[0]}; make space there, or set "
        "ROOST_SCALE__SPOOL to another folder",
    )
