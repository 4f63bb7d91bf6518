"""What tests check of parsed documents and of chunks, wherever these come from."""

from __future__ import annotations

from typing import Any

import pytest

from roost.tasks.errors import DocumentError
from roost.tasks.ids import chunk_hash
from roost.tasks.sources.parsers.parse import parse
from roost.tasks.sources.parsers.parsed import Parsed


def text_of(parsed: Parsed) -> str:
    """The text of all its pages."""
    return "\n".join(block.text for block in parsed.blocks)


def reason_of(data: bytes, name: str) -> str:
    """Why these bytes are refused; they must be, in one line."""
    with pytest.raises(DocumentError) as caught:
        parse(data, name)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def outcome_of(data: bytes, name: str) -> str:
    """`text`, `blank`, or the reason of the refusal."""
    try:
        return "text" if text_of(parse(data, name)).strip() else "blank"
    except DocumentError as error:
        return error.reason


def check_chunks(text: str, chunks: list[dict[str, Any]], size: int, tokenizer: Any) -> None:
    """Check what holds of every cut: each chunk fits and is where it says, and no letter is lost."""
    covered = bytearray(len(text))
    for number, chunk in enumerate(chunks):
        assert chunk["ordinal"] == number
        assert chunk["text"] == text[chunk["start"] : chunk["end"]]
        assert chunk["text"].strip()
        assert chunk["tokens"] == len(tokenizer.encode(chunk["text"], add_special_tokens=False).ids) <= size
        assert len(chunk["text"].encode()) <= 65_535
        assert chunk["chunk_hash"] == chunk_hash(chunk["text"])
        covered[chunk["start"] : chunk["end"]] = b"\1" * len(chunk["text"])
    lost = [place for place, letter in enumerate(text) if not letter.isspace() and not covered[place]]
    assert not lost, f"{len(lost)} characters are in no chunk, the first at {lost[0]}"
