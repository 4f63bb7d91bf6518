"""Rows of `DOCUMENT` of files, from what their filesystem tells of them."""

from __future__ import annotations

import os
from typing import Any

from roost.tasks.ids import doc_id
from roost.tasks.sources.opened_source import OpenedSource

#: Keys of fsspec's `info` that tell when or whether content changed; the first that is there is taken.
_CHANGE_KEYS = ("mtime", "LastModified", "last_modified", "updated", "date_time", "ETag", "etag")
#: Keys that unpacking and copying cannot set: the time at which a local file itself changed, an archive's checksum.
_UNFORGEABLE_KEYS = ("created", "CRC")
_ETAG_KEYS = ("ETag", "etag")
_MAX_TOKEN_CHARACTERS = 200


def document_row(opened: OpenedSource, relative: str, info: dict[str, Any]) -> dict[str, Any]:
    """Make the row of `DOCUMENT` of a file from its path relative to the source and fsspec's `info`."""
    uri = storable(relative)
    return {
        "doc_id": doc_id(opened.key, relative),
        "source": opened.key,
        "uri": uri,
        "location": storable(opened.location(info["name"])),
        "size": int(info.get("size") or 0),
        "modified": _change_token(info),
        "fingerprint": _fingerprint(info),
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "" if uri == relative else "unreadable: its name is not UTF-8; rename it",
    }


def storable(name: str) -> str:
    r"""Write a file name as UTF-8: bytes that are not become `\xe9`."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _change_token(info: dict[str, Any]) -> str:
    """Make a token that changes with the content, of what the filesystem tells; empty when it tells nothing.

    Unpacking and copying set a file's time to any value, often the same for all files, so values that they cannot set
    are appended.
    """
    for name in _CHANGE_KEYS:
        if value := info.get(name):
            others = [info[key] for key in _UNFORGEABLE_KEYS if key in info]
            return " ".join(map(_as_text, [value, *others]))[:_MAX_TOKEN_CHARACTERS]
    return ""


def _fingerprint(info: dict[str, Any]) -> str:
    """Give the strong ETag of a file, without quotes: equal ones mean equal bytes; empty where there is none."""
    tag = next((str(info[name]) for name in _ETAG_KEYS if info.get(name)), "")
    return "" if tag.startswith("W/") else tag.strip('"')[:_MAX_TOKEN_CHARACTERS]


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
