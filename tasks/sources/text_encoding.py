from __future__ import annotations

import codecs
from pathlib import Path

import charset_normalizer

from roost.tasks.sources.parsers.parse import as_utf8


def text_encoding(file: Path) -> str:
    """UTF-8 where it holds to the last byte, else the likeliest by the first megabyte."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with file.open("rb") as stream:
        try:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            return "utf-8-sig"
        except UnicodeDecodeError:
            stream.seek(0)
            sample = stream.read(1 << 20)
    if as_utf8(sample) is not None:
        return "utf-8-sig"
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best else "latin-1"
