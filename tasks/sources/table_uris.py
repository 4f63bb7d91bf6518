"""Names of tables, and URIs of their rows: the path of the table in its source, `#`, and the name of the row."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

#: Suffixes of files whose rows are documents.
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

#: Suffixes of files that contain mails and attachments, which are documents of their own.
MAIL_SUFFIX, MAILBOX_SUFFIX = ".eml", ".mbox"

_ROW = " row"
_MAIL_URI = re.compile(rf"(?P<file>.*?({re.escape(MAIL_SUFFIX)}|{re.escape(MAILBOX_SUFFIX)}))#.+", re.I | re.DOTALL)
_ROW_URI = re.compile(
    rf"(?P<table>.*?({'|'.join(map(re.escape, TABLE_SUFFIXES))})({'|'.join(map(re.escape, COMPRESSED_SUFFIXES))})?)#.*",
    re.IGNORECASE | re.DOTALL,
)


def table_kind(name: str) -> str:
    """Give the suffix that tells the kind of a table, in lower case, without that of a compression."""
    path = PurePosixPath(name)
    return (PurePosixPath(path.stem) if is_compressed(name) else path).suffix.lower()


def is_compressed(name: str) -> bool:
    """Whether a file is compressed, by its suffix."""
    return PurePosixPath(name).suffix.lower() in COMPRESSED_SUFFIXES


def table_of(uri: str) -> str:
    """Give the path of the table of a row's URI; empty where the URI is a file's, which may contain `#` too."""
    match = _ROW_URI.fullmatch(uri)
    return match["table"] if match else ""


def mail_of(uri: str) -> str:
    """Give the path of the mail or mailbox of an attachment's or a mail's URI; empty where the URI is a file's."""
    match = _MAIL_URI.fullmatch(uri)
    return match["file"] if match else ""


def file_of(uri: str, read_as: str) -> str:
    """Give the path of the file that contains a document: a table, a mail, a mailbox, else the document itself.

    Args:
        uri: URI of the document in its source.
        read_as: Format of the document in the ledger; empty where it is unknown.
    """
    is_file = read_as != "" and not read_as.endswith(_ROW)
    return mail_of(uri) or (uri if is_file else table_of(uri) or uri)


def row_format(uri: str) -> str:
    """Give the format of a row of a table, as in `csv row`, by its URI."""
    return f"{table_kind(table_of(uri)).removeprefix('.')}{_ROW}".strip()
