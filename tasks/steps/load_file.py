"""Loading of one file, or of a range of its pages, in a worker process; what is wrong with the file is returned."""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash
from roost.tasks.locations import local_path, open_location
from roost.tasks.sources.parsers.parse import Reading, join_readings, parser_of, read, read_by_stand_in
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, ParserId
from roost.tasks.steps.text_files import TextFile

#: Of documents that no parser read.
NO_PARSER = ParserId()


@dataclass(frozen=True)
class Outcome:
    """What loading a document gave.

    content_hash: Empty when it was not read.
    result: Where its text is, or why there is none.
    parser: What it was read as, and by which parser.
    seconds: Processor time that reading it took.
    """

    content_hash: str
    result: TextFile | RoostError
    parser: ParserId = NO_PARSER
    seconds: float = 0.0


class _File(NamedTuple):
    location: str
    name: str
    doc_id: str
    text: str


def load_file(location: str, name: str, doc_id: str, text: str, pages: PageRange | None = None) -> Outcome:
    """Read and parse one file, or a range of its pages, in a worker process; its errors are returned, not raised.

    Args:
        location: What to open.
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.
        pages: A range of its pages; None for all.

    Raises:
        MemoryError: It needs more memory than the worker may have.
        TextFileError: The text cannot be written.
    """
    return _load(_File(location, name, doc_id, text), lambda data: read(data, name, pages))


def load_file_by_stand_in(location: str, name: str, doc_id: str, text: str, pages: PageRange | None) -> Outcome:
    """Do the same as `load_file` with the stand-in of the file's parser, which has crashed."""
    return _load(_File(location, name, doc_id, text), lambda data: read_by_stand_in(data, name, pages))


def _load(file: _File, parse: Callable[[bytes], Reading]) -> Outcome:
    started = time.process_time()
    try:
        data = read_file(file.location)
    except RoostError as error:
        return Outcome("", error)
    reading = _refused_if_failed(file.name, lambda: parse(data))
    outcome = _outcome(content_hash(data), reading, file.doc_id, file.text)
    return replace(outcome, seconds=time.process_time() - started)


def join_file(name: str, doc_id: str, text: str, parts: Sequence[Outcome]) -> Outcome:
    """Join the page ranges of one file, none of them refused, in a worker process.

    Args:
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.
        parts: Its ranges, in page order.

    Raises:
        TextFileError: The text cannot be read or written.
    """
    return _outcome(parts[0].content_hash, join_parts(name, parts), doc_id, text)


def join_parts(name: str, parts: Sequence[Outcome]) -> Reading:
    """Join the first page ranges of a file, or all of them, as `join_file` does."""
    readings = [Reading(one.result.read(), one.parser) for one in parts if isinstance(one.result, TextFile)]
    return _refused_if_failed(name, lambda: join_readings(readings, name))


def _outcome(file_hash: str, reading: Reading, doc_id: str, text: str) -> Outcome:
    """Write the text of a file that was read."""
    parsed = reading.result
    result = TextFile.write(text, {doc_id: parsed})[doc_id] if isinstance(parsed, Parsed) else parsed
    return Outcome(file_hash, result, reading.read_by)


def _refused_if_failed(name: str, work: Callable[[], Reading]) -> Reading:
    """Call a parser; what it raises refuses its document."""
    try:
        return work()
    except MemoryError:  # perhaps because of what others have left: `Workers` tries it again alone
        raise
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
            return bytes(stream.read())
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if isinstance(error.__cause__, OSError):  # fsspec reports an unreachable web server as FileNotFoundError
            raise TransientError(f"{location}: {error.__cause__}") from None
        raise DocumentError("unreadable", error.strerror or str(error)) from None
    except MemoryError:
        raise
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DocumentError("damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001  each remote filesystem raises its own exceptions
        if local_path(location) is None:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        raise DocumentError("unreadable", str(error)) from None
