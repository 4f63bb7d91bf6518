"""Records of the parts of a .xlsb: a type, a length and as many bytes ([MS-XLSB] 2.1.4)."""

from __future__ import annotations

from collections.abc import Iterator

#: Longest type and length together, bytes.
_MAX_HEAD_BYTES = 6


def read_records(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give the type and the data of each record; a damaged part ends early.

    Args:
        pieces: The part, in pieces of any size.
    """
    data, at = b"", 0
    while True:
        while len(data) - at < _MAX_HEAD_BYTES and (piece := next(pieces, b"")):
            data, at = data[at:] + piece, 0
        if at >= len(data):
            return
        kind, at = _number(data, at, 2)
        length, at = _number(data, at, 4)
        while len(data) - at < length:
            piece = next(pieces, b"")
            if not piece:
                return
            data, at = data[at:] + piece, 0
        yield kind, data[at : at + length]
        at += length


def wide_text(data: bytes) -> str:
    """Read a text: the number of its characters, four bytes, and the characters as UTF-16."""
    return data[4 : 4 + 2 * int.from_bytes(data[:4], "little")].decode("utf-16-le", "replace")


def _number(data: bytes, at: int, max_bytes: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, lowest first; give it and the place after it."""
    number = 0
    for shift in range(0, 7 * max_bytes, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return number, at
