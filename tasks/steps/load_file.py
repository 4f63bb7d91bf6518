"""Loading of one file, or of a range of its pages, in a worker process; what is wrong with the file is returned."""

from __future__ import annotations

import resource
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash
from roost.tasks.locations import NoFileError, local_path, open_location
from roost.tasks.sources.connectors.contract import Content
from roost.tasks.sources.connectors.items import ItemContent, ItemReader, is_item
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.parsers.parse import Reading, join_readings, parser_of, read, read_by_stand_in
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, ParserId, TextBlock
from roost.tasks.sources.table_uris import row_format
from roost.tasks.sources.text_encoding import clean
from roost.tasks.steps.text_files import TextFile, TextFileError

#: Most characters of text of one document: to embed as much takes hours.
MAX_TEXT_CHARACTERS = 100_000_000
#: Of documents that no parser read.
NO_PARSER = ParserId()
#: The connections of this worker process; they end with it.
_items = ItemReader()


@dataclass(frozen=True)
class Outcome:
    """What loading a document gave.

    content_hash: Empty when it was not read.
    result: Where its text is, or why there is none.
    parser: What it was read as, and by which parser.
    seconds: Processor time that a page range took.
    """

    content_hash: str
    result: TextFile | RoostError
    parser: ParserId = NO_PARSER
    seconds: float = 0.0


def load_file(location: str, name: str, doc_id: str, text: str) -> Outcome:
    """Read and parse one file in a worker process; its errors are returned, not raised.

    Args:
        location: What to open.
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.

    Raises:
        MemoryError: It needs more memory than the worker may have.
        TextFileError: The text cannot be written.
    """
    return _load(location, name, doc_id, text, lambda data, kind: read(data, name, media_type=kind))


def load_file_by_stand_in(location: str, name: str, doc_id: str, text: str) -> Outcome:
    """Do the same as `load_file` with the stand-in of the file's parser, which has crashed."""
    return _load(location, name, doc_id, text, lambda data, kind: read_by_stand_in(data, name, kind))


def copy_file(location: str, copy: str) -> str | RoostError:
    """Copy a file to the spool, in a worker process: all of its page ranges are parsed from this copy.

    Args:
        location: What to open.
        copy: The file to make.

    Returns:
        The hash of its content; why it cannot be read.

    Raises:
        MemoryError: It needs more memory than the worker may have.
        TextFileError: The copy cannot be written.
    """
    try:
        data = read_file(location)
    except RoostError as error:
        return error
    try:
        Path(copy).write_bytes(data)
    except OSError as error:
        raise TextFileError(f"a copy of the file cannot be written to {copy}: {error}") from None
    return content_hash(data)


def load_range(copy: str, name: str, doc_id: str, text: str, pages: PageRange) -> Outcome:
    """Parse a range of a file's pages from a copy that `copy_file` made; without the hash of the file.

    Raises:
        MemoryError: It needs more memory than the worker may have.
        TextFileError: The copy cannot be read, or the text not be written.
    """
    started = time.process_time()
    try:
        data = Path(copy).read_bytes()
    except OSError as error:
        raise TextFileError(f"a copy of the file cannot be read from {copy}: {error}") from None
    reading = _refused_if_failed(name, lambda: read(data, name, pages))
    return replace(_outcome("", reading, doc_id, text), seconds=time.process_time() - started)


def _load(location: str, name: str, doc_id: str, text: str, parse: Callable[[bytes, str], Reading]) -> Outcome:
    try:
        item = _items.read(location) if is_item(location) else ItemContent(Content(read_file(location)))
    except RoostError as error:
        return Outcome("", error)
    return _outcome(item.hash, _refused_if_failed(name, lambda: _parse_item(item, parse)), doc_id, text)


def _parse_item(item: ItemContent, parse: Callable[[bytes, str], Reading]) -> Reading:
    """Parse a file or an item, and add what the item's place knows of it."""
    title, fields = clean(item.metadata.title), item.fields
    if item.is_plain_text:
        text = item.data.decode()
        if not (text.strip() or title.strip()):
            raise DocumentError("empty", "its text is empty")
        return Reading(plain_text(title, text, fields), ParserId(row_format("")))
    reading = parse(item.data, item.content.media_type)
    if not isinstance(reading.result, Parsed) or not (title or fields):
        return reading
    parsed = reading.result
    known = replace(parsed, title=title or parsed.title, metadata={**parsed.metadata, **fields})
    return replace(reading, result=known)


def plain_text(title: str, text: str, fields: Mapping[str, Any]) -> Parsed:
    """Make the parsed document of a text that no parser reads, as of a table's row: its title, then its text."""
    return Parsed((TextBlock("\n\n".join(filter(None, (title, text)))),), title, dict(fields))


def join_file(name: str, doc_id: str, text: str, parts: Sequence[Outcome]) -> Outcome:
    """Join the page ranges of one file, none of them refused, in a worker process; without the hash of the file.

    Args:
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.
        parts: Its ranges, in page order.

    Raises:
        TextFileError: The text cannot be read or written.
    """
    return _outcome("", join_parts(name, parts), doc_id, text)


def join_parts(name: str, parts: Sequence[Outcome]) -> Reading:
    """Join the first page ranges of a file, or all of them, as `join_file` does."""
    readings = [Reading(one.result.read(), one.parser) for one in parts if isinstance(one.result, TextFile)]
    return _refused_if_failed(name, lambda: join_readings(readings, name))


def _refuse_larger_than_memory(location: str) -> None:
    path, limit = local_path(location), resource.getrlimit(resource.RLIMIT_DATA)[0]
    if path is None or limit == resource.RLIM_INFINITY:
        return
    if (size := Path(path).stat().st_size) > limit:
        raise DocumentError(
            "too_large",
            f"it has {size:,} bytes, and a worker may use {limit:,} bytes of memory (ROOST_INGEST__PARSE_MEMORY_MB)",
        )


def _outcome(file_hash: str, reading: Reading, doc_id: str, text: str) -> Outcome:
    """Write the text of a file that was read."""
    parsed = reading.result
    if isinstance(parsed, Parsed) and sum(len(block.text) for block in parsed.blocks) > MAX_TEXT_CHARACTERS:
        parsed = DocumentError("too_large", f"it has more than {MAX_TEXT_CHARACTERS:,} characters of text: split it")
    result = TextFile.write(text, {doc_id: parsed})[doc_id] if isinstance(parsed, Parsed) else parsed
    return Outcome(file_hash, result, reading.read_by)


def _refused_if_failed(name: str, work: Callable[[], Reading]) -> Reading:
    """Call a parser; what it raises refuses its document."""
    try:
        return work()
    except MemoryError:  # perhaps because of what others have left: `Workers` tries it again alone
        raise
    except DocumentError as refusal:
        error = refusal
    except RecursionError:
        error = DocumentError("damaged", "its structure is nested too deeply")
    except Exception as defect:  # noqa: BLE001  a document that no parser expects, or a defect that an upgrade mends
        error = DocumentError("failed", f"parsing: {type(defect).__name__}: {defect}")
    return Reading(error, parser_of(name))


def read_file(location: str) -> bytes:
    """Read one file.

    Raises:
        DocumentError: It cannot be read.
        TransientError: The network or the store failed.
        MemoryError: It needs more memory than this process may have.
    """
    try:
        with open_location(location) as stream:
            _refuse_larger_than_memory(location)
            return bytes(stream.read())
    except DocumentError:
        raise
    except NoFileError as error:
        raise DocumentError("unreadable", str(error)) from None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if isinstance(error.__cause__, OSError):  # fsspec reports an unreachable web server as FileNotFoundError
            raise TransientError(f"{location}: {describe_error(error.__cause__)}") from None
        gone = "it is gone since it was listed" if isinstance(error, FileNotFoundError) else describe_error(error)
        raise DocumentError("unreadable", gone) from None
    except MemoryError:
        raise
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DocumentError("damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001  each remote filesystem raises its own exceptions
        if local_path(location) is None:
            raise TransientError(f"{location}: it cannot be read now: {describe_error(error)}") from None
        raise DocumentError("unreadable", describe_error(error)) from None
