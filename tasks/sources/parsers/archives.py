"""Checks of archives that are documents: a small file can unpack to gigabytes."""

from __future__ import annotations

import io
import zipfile

from roost.tasks.errors import DocumentError

#: Most bytes of all parts of an archive, unpacked, and most parts.
MAX_UNPACKED_BYTES = 1 << 30
MAX_PARTS = 20_000
#: Largest ratio of unpacked to packed bytes of an archive that is not small.
_MAX_RATIO = 200
_SMALL_BYTES = 50_000_000


def check_archive(data: bytes, kind: str) -> None:
    """Refuse an archive that is damaged, or that would unpack to more than fits into memory.

    Args:
        data: The file.
        kind: What it should be, for the message, as in `.pptx`.

    Raises:
        DocumentError: It is refused.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise DocumentError("damaged", f"not a readable {kind}: {error}") from None
    unpacked = sum(part.file_size for part in parts)
    is_bomb = unpacked > _SMALL_BYTES and unpacked > _MAX_RATIO * len(data)
    if unpacked > MAX_UNPACKED_BYTES or len(parts) > MAX_PARTS or is_bomb:
        raise DocumentError(
            "too_large", f"its {len(parts)} parts unpack to {unpacked:,} bytes, {unpacked // len(data)} times the file"
        )
