"""Rows of `DOCUMENT`, from the items that a connection lists."""

from __future__ import annotations

import os
from typing import Any

from roost.tasks.ids import doc_id
from roost.tasks.sources.connectors.contract import Item

_MAX_TOKEN_CHARACTERS = 200


def document_row(source: str, item: Item, location: str) -> dict[str, Any]:
    """Make the row of `DOCUMENT` of an item that has no content yet.

    Args:
        source: Key of the source.
        item: The item.
        location: Where its content is read.
    """
    uri = storable(item.key)
    modified = item.modified if isinstance(item.modified, str) else item.modified.isoformat()
    return {
        "doc_id": doc_id(source, item.key),
        "source": source,
        "uri": uri,
        "location": storable(location),
        "size": item.size or 0,
        "modified": modified[:_MAX_TOKEN_CHARACTERS],
        "fingerprint": item.fingerprint[:_MAX_TOKEN_CHARACTERS],
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "" if uri == item.key else "unreadable: its name is not UTF-8; rename it",
    }


def storable(name: str) -> str:
    r"""Write a file name as UTF-8: bytes that are not become `\xe9`."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
