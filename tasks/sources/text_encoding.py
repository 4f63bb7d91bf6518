"""Decoding of text in an unknown encoding, and the clean-up that makes text storable in Milvus."""

from __future__ import annotations

import codecs
from pathlib import Path

from roost.tasks.errors import DocumentError

#: Byte order marks and the codec that reads what follows them; the four-byte marks come before their two-byte prefixes.
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}

#: UTF-8 with more than one damaged character in this many non-ASCII ones is taken for another encoding.
_NON_ASCII_PER_DAMAGED = 20
_BLOCK_BYTES = 1 << 20
#: Bytes from which charset-normalizer decides whether a file is binary.
_BINARY_SAMPLE_BYTES = 65_536


def decode(data: bytes) -> str:
    """Decode text by its byte order mark, else as UTF-8, else in the most likely encoding; clean the result.

    Raises:
        DocumentError: The bytes are not text (reason `unknown_format`).
    """
    import charset_normalizer

    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return clean(data.decode(encoding, errors="replace"))
    text = decode_utf8(data)
    if text is not None and "\0" not in text:
        return clean(text)
    best = charset_normalizer.from_bytes(data).best()
    if best is None:
        raise _not_text()
    _refuse_binary(data)
    return clean(str(best))


def decode_utf8(data: bytes) -> str | None:
    """Decode UTF-8 of which at most 1 in 20 non-ASCII characters is damaged; None when it is another encoding."""
    text = data.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    non_ascii = len(text) - len(text.encode("ascii", errors="ignore"))
    return text if damaged * _NON_ASCII_PER_DAMAGED <= non_ascii else None


def clean(text: str) -> str:
    r"""Make text storable: line ends become `\n`, NUL characters are dropped, lone surrogates become `?`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-8", errors="replace").decode("utf-8")


def detect_encoding(file: Path) -> str:
    """Name the codec of a text file: UTF-8 when all of it decodes, else the most likely one of the first megabyte.

    Raises:
        DocumentError: The file is not text (reason `unknown_format`).
    """
    import charset_normalizer

    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with file.open("rb") as stream:
        try:
            while block := stream.read(_BLOCK_BYTES):
                decoder.decode(block)
            return "utf-8-sig"
        except UnicodeDecodeError:
            stream.seek(0)
            sample = stream.read(_BLOCK_BYTES)
    if decode_utf8(sample) is not None:
        return "utf-8-sig"
    if b"\0" in sample:
        _refuse_binary(sample)
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best else "latin-1"


def _refuse_binary(data: bytes) -> None:
    import charset_normalizer

    if charset_normalizer.is_binary(data[:_BINARY_SAMPLE_BYTES]):
        raise _not_text()


def _not_text() -> DocumentError:
    return DocumentError("unknown_format", "the file is neither text nor in a format that Roost can parse")
