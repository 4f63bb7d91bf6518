"""Files that contain documents of their own: attachments of mails (.eml), mails of mailboxes (.mbox).

Their bytes are written to the spool when the file is listed; from then on they are files like others. The URI of one is
that of the file that contains it, `#`, and its own name: `mail.eml#plan.pdf`, `box.mbox#ID.eml#plan.pdf`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from roost.tasks.errors import DocumentError
from roost.tasks.ids import content_hash, digest, doc_id
from roost.tasks.locations import open_location
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.parsers.mail import attachments, read_message
from roost.tasks.sources.parsers.registry import is_media, suffix_of
from roost.tasks.sources.source import Columns
from roost.tasks.sources.table_uris import MAIL_SUFFIX, MAILBOX_SUFFIX
from roost.tasks.sources.tables import TableListing, list_rows

#: Mails inside of mails that are opened; deeper ones are refused.
_MAX_DEPTH = 5
_MAX_ATTACHMENTS = 1_000
_PIECE_BYTES = 1 << 20
_ENVELOPE = re.compile(rb"(?:\A|\n)From [^\n]*\n")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_NOT_IN_NAMES = re.compile(r"[^\w.@+-]")


def is_mail(name: str) -> bool:
    """Whether a file is a mail, by its suffix."""
    return suffix_of(name) == MAIL_SUFFIX


def is_mailbox(name: str) -> bool:
    """Whether a file contains mails, by its suffix."""
    return suffix_of(name) == MAILBOX_SUFFIX


def list_contents(
    location: str, source: str, uri: str, columns: Columns, spool: Path, max_copied_mb: int = 8192
) -> TableListing:
    """List the documents in a table, a mailbox or a mail, as `list_rows` does.

    Raises:
        SourceError, DocumentError: As `list_rows`; the file is larger than `max_copied_mb`, or no mail.
    """
    if not (is_mail(uri) or is_mailbox(uri)):
        return list_rows(location, source, uri, columns, spool, max_copied_mb)
    data = _read(location, max_copied_mb)
    found = _Contents(source, spool, digest(location.encode(), 6))
    if is_mailbox(uri):
        for name, mail in _split_mailbox(data):
            found.add(f"{uri}#{name}", mail)
    else:
        found.add_attachments(uri, data, depth=1)
    return TableListing(pl.DataFrame(found.rows, schema=DOCUMENT), is_complete=True)


def _read(location: str, max_mb: int) -> bytes:
    """Read a file in pieces: to read as many bytes as it may have at most would take as much memory."""
    data = bytearray()
    try:
        with open_location(location) as stream:
            while piece := stream.read(_PIECE_BYTES):
                data += piece
                if len(data) > max_mb * 2**20:
                    raise DocumentError("too_large", f"it has more than {max_mb} MiB (ROOST_INGEST__TABLE_MB)")
    except OSError as error:
        raise DocumentError("unreadable", error.strerror or str(error)) from None
    return bytes(data)


class _Contents:
    """The documents found in one file: rows of `DOCUMENT`, their bytes in the spool."""

    def __init__(self, source: str, spool: Path, prefix: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self._source = source
        self._spool = spool
        self._prefix = prefix

    def add(self, uri: str, data: bytes, depth: int = 0) -> None:
        """Add a document, and if it is a mail, its attachments. Files without text are left out."""
        if is_media(uri) or not data:
            return
        file = self._spool / f"{self._prefix}-{len(self.rows):06d}.part"
        file.write_bytes(data)
        self.rows.append(self._row(uri, str(file), data))
        if is_mail(uri):
            self.add_attachments(uri, data, depth + 1)

    def add_attachments(self, uri: str, data: bytes, depth: int) -> None:
        """Add the attachments of a mail; one that is too deep inside of others is refused by name."""
        try:
            found = list(attachments(read_message(data)))
        except DocumentError:
            return  # the mail itself is refused when it is loaded
        for number, attachment in enumerate(found):
            inner = f"{uri}#{attachment.name}"
            if depth > _MAX_DEPTH or number >= _MAX_ATTACHMENTS:
                limit = f"at most {_MAX_DEPTH} mails deep and {_MAX_ATTACHMENTS} in one mail"
                refused = {"reason": f"too_large: attachments are read {limit}"}
                self.rows.append(self._row(inner, "", attachment.data) | refused)
                return
            self.add(inner, attachment.data, depth)

    def _row(self, uri: str, location: str, data: bytes) -> dict[str, Any]:
        place = {"doc_id": doc_id(self._source, uri), "source": self._source, "uri": uri, "location": location}
        content = {"size": len(data), "content_hash": content_hash(data)}
        return place | content | {"modified": "", "fingerprint": "", "spool": "", "row": -1, "reason": ""}


def _split_mailbox(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Split a mailbox into its mails, each with a name that stays: its message id, else a digest of its content."""
    starts = list(_ENVELOPE.finditer(data))
    if not starts:
        raise DocumentError("damaged", "not a readable mailbox: no line begins with From")
    names: Counter[str] = Counter()
    ends = [*(found.start() for found in starts[1:]), len(data)]
    for start, end in zip(starts, ends, strict=True):
        mail = _QUOTED_FROM.sub(rb"\1", data[start.end() : end].strip(b"\n") + b"\n")
        try:
            own = str(read_message(mail).get("message-id", "")).strip("<> ")
        except (DocumentError, ValueError, LookupError, TypeError, AttributeError, IndexError):
            own = ""
        name = _NOT_IN_NAMES.sub("_", own)[:100] or digest(mail)
        names[name] += 1
        yield f"{name}{f'-{names[name]}' if names[name] > 1 else ''}{MAIL_SUFFIX}", mail
