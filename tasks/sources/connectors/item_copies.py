"""Copies of items whose content came with the listing: files of the spool, which the batches read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson

from roost.tasks.sources.connectors.contract import Content, Metadata


def write_copy(content: Content, metadata: Metadata, file: Path) -> None:
    """Write what a listing gave of an item: a line of JSON, then the content.

    Raises:
        OSError: There is no space left.
    """
    data = content.data
    facts = {
        "is_text": isinstance(data, str),
        "media_type": content.media_type,
        "is_web_page": content.is_web_page,
        "metadata": asdict(metadata),
    }
    line = orjson.dumps(facts, default=str, option=orjson.OPT_NON_STR_KEYS)
    file.write_bytes(line + b"\n" + (data.encode("utf-8", "replace") if isinstance(data, str) else data))


def read_copy(file: Path) -> tuple[Content, Metadata]:
    """Read what `write_copy` wrote."""
    line, _, data = file.read_bytes().partition(b"\n")
    facts = orjson.loads(line)
    content = Content(data.decode() if facts["is_text"] else data, facts["media_type"], facts["is_web_page"])
    return content, Metadata(**facts["metadata"])
