"""What fsspec's `info` tells of whether a file changed."""

from __future__ import annotations

from typing import Any

#: Keys of fsspec's `info` that tell when or whether content changed; the first that is there is taken.
_CHANGE_KEYS = ("mtime", "LastModified", "last_modified", "updated", "date_time", "ETag", "etag")
#: Keys that unpacking and copying cannot set: the time at which a local file itself changed, an archive's checksum.
_UNFORGEABLE_KEYS = ("created", "CRC")
_ETAG_KEYS = ("ETag", "etag")


def change_token(info: dict[str, Any]) -> str:
    """Make a token that changes with the content, of what the filesystem tells; empty when it tells nothing.

    Unpacking and copying set a file's time to any value, often the same for all files, so values that they cannot set
    are appended.
    """
    for name in _CHANGE_KEYS:
        if value := info.get(name):
            others = [info[key] for key in _UNFORGEABLE_KEYS if key in info]
            return " ".join(map(_as_text, [value, *others]))
    return ""


def strong_etag(info: dict[str, Any]) -> str:
    """Give the strong ETag of a file, without quotes: equal ones mean equal bytes; empty where there is none."""
    tag = next((str(info[name]) for name in _ETAG_KEYS if info.get(name)), "")
    return "" if tag.startswith("W/") else tag.strip('"')


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
