"""Tables whose rows are documents: CSV, JSONL and Parquet, compressed or not.

A table is read once. Its rows are laid down in parts, Parquet files of a temporary folder, from which the batches
take theirs: memory stays flat, and a row that is broken refuses itself and not the table.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from itertools import count, islice
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import orjson
import polars as pl
from pydantic import Field

from roost.tasks.errors import DocumentError, SourceError, unknown_value
from roost.tasks.form_model import FormModel
from roost.tasks.ids import digest, doc_id
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.table_readers import ERROR, READERS, Row

#: Rows in one part: what is held of a table at once while it is listed.
PART_ROWS = 2_000

_ID = ("id", "_id", "doc_id", "docid", "key", "uuid", "slug", "commit")
_TITLE = ("title", "headline", "subject", "name", "question", "change summary", "heading")
_TEXT = ("text", "content", "body", "abstract", "answer", "passage", "document", "description", "message",
         "change details", "summary", "plot", "notes")  # fmt: skip
_PART = pl.Schema({"title": pl.String, "text": pl.String, "metadata": pl.String})
_LONGEST_ID = 1000


class Columns(FormModel):
    """The columns of a table. An empty one is chosen by its name, the text's else by its length."""

    id: str = Field(
        "",
        title="Id column",
        description="Column with a unique, stable id. Without it a content hash is used, so an edited row counts as "
        "a new one.",
    )
    title: str = Field("", title="Title column", description="Column with a title, which is put before the text.")
    text: str = Field("", title="Text column", description="Column with the text to index.")
    metadata: list[str] | None = Field(
        None,
        title="Metadata columns",
        description="Columns to store with each chunk (default: all others).",
    )


def is_table(name: str) -> bool:
    """Whether a file's rows are documents, by its suffix."""
    return _kind(name) in READERS


def list_rows(location: str, source: str, uri: str, columns: Columns, spool: Path) -> tuple[pl.DataFrame, bool]:
    """List a table's rows and lay down their text.

    Returns:
        A frame of `DOCUMENT`, and whether every row could be told by its id.

    Raises:
        SourceError: A column that was asked for is not there.
        DocumentError: The file is damaged, or no column holds text.
    """
    file = _local_copy(location, spool)
    rows = enumerate(READERS[_kind(location)](file), start=1)
    parts: list[pl.DataFrame] = []
    seen: set[str] = set()
    complete = True
    found: Columns | None = None
    while numbered := list(islice(rows, PART_ROWS)):
        found = found or find_columns(_whole([row for _, row in numbered]), columns, uri)
        part = spool / f"{digest(location.encode(), 6)}-{len(parts):06d}.parquet"
        listed, laid, told = _part(numbered, found, source, uri, seen, str(part))
        laid.write_parquet(part)
        parts.append(listed)
        complete = complete and told
    if not parts:
        raise DocumentError("empty", "the table has no rows")
    return pl.concat(parts), complete


def read_rows(documents: pl.DataFrame) -> pl.DataFrame:
    """Fetch the laid-down rows of some documents: `doc_id`, `title`, `text`, `metadata`."""
    parts = []
    for (part,), wanted in documents.group_by("spool", maintain_order=True):
        laid = pl.read_parquet(str(part))[wanted["row"].to_list()]
        parts.append(laid.with_columns(wanted["doc_id"]))
    return pl.concat(parts) if parts else _PART.to_frame().with_columns(doc_id=pl.lit(""))


def find_columns(rows: list[Row], asked: Columns, uri: str) -> Columns:
    """Decide which columns hold id, title, text and metadata.

    Raises:
        SourceError: One that was asked for is not there.
        DocumentError: No column holds text.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for wanted in filter(None, (asked.id, asked.title, asked.text, *(asked.metadata or []))):
        if wanted not in names:
            raise SourceError(f"{uri}: {unknown_value('column', wanted, names)}")
    text = asked.text or _by_name(names, _TEXT) or _by_length(rows, names)
    if not text:
        raise DocumentError("no_text", f"no column holds text; choose one with --text-column ({', '.join(names)})")
    title = asked.title or _by_name([name for name in names if name != text], _TITLE)
    key = asked.id or _by_name([name for name in names if name not in (text, title)], _ID)
    rest = [name for name in names if name and name not in (text, title, key)]
    return Columns(id=key, title=title, text=text, metadata=rest if asked.metadata is None else asked.metadata)


def _whole(rows: list[Row]) -> list[Row]:
    """The rows that are not broken; when there is none, what is wrong with the first is wrong with the table."""
    whole = [row for row in rows if ERROR not in row]
    if not whole:
        raise DocumentError("damaged", f"no row can be read, the first because: {rows[0][ERROR].detail}")
    return whole


def _by_name(names: list[str], known: Iterable[str]) -> str:
    lowered = {name.lower().strip(): name for name in reversed(names)}
    return next((lowered[name] for name in known if name in lowered), "")


def _by_length(rows: list[Row], names: list[str]) -> str:
    """The column with the longest words-bearing text, if it is text at all: 20 characters and a space on average."""

    def average(name: str) -> float:
        texts = [row[name] for row in rows if isinstance(row.get(name), str)]
        return sum(len(text) for text in texts if " " in text) / max(len(texts), 1)

    best = max(names, key=average, default="")
    return best if best and average(best) >= 20 else ""


def _part(
    numbered: Iterable[tuple[int, Row]], columns: Columns, source: str, uri: str, seen: set[str], part: str,
) -> tuple[pl.DataFrame, pl.DataFrame, bool]:  # fmt: skip
    """Turn raw rows into listed documents and laid-down text; say whether all could be told by id."""
    listed, laid, told = [], [], True
    for index, (number, row) in enumerate(numbered):
        document, reason = _document(row, columns)
        given = _string(row.get(columns.id)).strip()[:_LONGEST_ID] if columns.id else ""
        if given in seen:
            reason = reason or f"bad_row: id {given!r} appears again"
        told = told and not (ERROR in row and not given)
        named = f"line-{number}" if given in seen or (ERROR in row and not given) else ""
        address = f"{uri}#{_unique(named or given or _digest(document, 8), seen)}"
        listed.append(
            {
                "doc_id": doc_id(source, address), "source": source, "uri": address, "location": "",
                "size": len((document["title"] + document["text"]).encode()), "modified": "",
                "content_hash": _digest(document, 16), "spool": part, "row": index, "reason": reason,
            }
        )  # fmt: skip
        laid.append(document)
    return pl.DataFrame(listed, schema=DOCUMENT), pl.DataFrame(laid, schema=_PART), told


def _unique(key: str, seen: set[str]) -> str:
    """Take a name that no row before has: equal rows without an id get -2, -3 and so on."""
    names = (key if n == 1 else f"{key}-{n}" for n in count(1))
    free = next(name for name in names if name not in seen)
    seen.add(free)
    return free


def _digest(document: dict[str, str], size: int) -> str:
    return digest(orjson.dumps(document), size)


def _document(row: Row, columns: Columns) -> tuple[dict[str, str], str]:
    """A row's title, text and metadata, and why it is refused, if it is."""
    if ERROR in row:
        return {"title": "", "text": "", "metadata": "{}"}, str(row[ERROR])
    text, title = _string(row.get(columns.text)), _string(row.get(columns.title))
    metadata = {name: row[name] for name in columns.metadata or [] if row.get(name) not in (None, "")}
    document = {
        "title": title,
        "text": text,
        "metadata": orjson.dumps(metadata, default=str, option=orjson.OPT_NON_STR_KEYS).decode(),
    }
    filled = text.strip() or title.strip()  # a title alone is something to find the row by
    return document, "" if filled else f"empty: column {columns.text!r} of the row is empty"


def _string(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.replace("\0", "").encode("utf-8", errors="replace").decode()


def _kind(name: str) -> str:
    path = PurePosixPath(name.split("::")[0])
    return PurePosixPath(path.stem).suffix.lower() if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst") \
        else path.suffix.lower()  # fmt: skip


def _local_copy(location: str, spool: Path) -> Path:
    """A plain local file of the table: itself, or a decompressed copy in the spool."""
    path = Path(location)
    if "://" not in location and path.suffix.lower() == _kind(location):
        return path
    copy = spool / f"{digest(location.encode(), 6)}{_kind(location)}"
    try:
        with fsspec.open(location, "rb", compression="infer") as stream, copy.open("wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
    except Exception as error:  # noqa: BLE001  every kind of compression raises its own
        raise DocumentError("unreadable", f"{error}") from None
    return copy
