"""The MIME type of a file by its content, for files whose suffix is wrong or missing."""

from __future__ import annotations

import io
import zipfile

#: Bytes before the first sign of a PDF that readers of PDF skip.
_PDF_HEADER_BYTES = 1024
#: A part of an archive that only documents of one format have, and the format's MIME type.
_OFFICE = "application/vnd.openxmlformats-officedocument"
_PART_TYPES = {
    "word/document.xml": f"{_OFFICE}.wordprocessingml.document",
    "ppt/presentation.xml": f"{_OFFICE}.presentationml.presentation",
    "xl/workbook.xml": f"{_OFFICE}.spreadsheetml.sheet",
    "xl/workbook.bin": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    "META-INF/container.xml": "application/epub+zip",
}
_HTML_STARTS = (b"<!doctype html", b"<html")


def content_type(data: bytes) -> str:
    """Give the MIME type that the first bytes of a file, or the parts of an archive, tell; empty where they do not."""
    if b"%PDF-" in data[:_PDF_HEADER_BYTES]:
        return "application/pdf"
    if data.startswith(b"PK\x03\x04"):
        return _archive_type(data)
    start = data[:_PDF_HEADER_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return "text/html" if start.startswith(_HTML_STARTS) else ""


def _archive_type(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return ""
    return next((kind for part, kind in _PART_TYPES.items() if part in parts), "")
