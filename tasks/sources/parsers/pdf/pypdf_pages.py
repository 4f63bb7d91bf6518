"""Reading of a PDF's pages with pypdf: of files and pages that pypdfium2 refuses, or where it finds no text."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.parsed import CODE_ERRORS, first_line
from roost.tasks.sources.parsers.pdf.page import Line, Page
from roost.tasks.sources.text_encoding import clean


def read_with_pypdf(data: bytes, choose: Callable[[int], Iterable[int]]) -> tuple[list[Page], str]:
    """Read pages, without boxes of their lines.

    A page that cannot be parsed has no lines and is not readable. Where no page can be, and the parser's code is to
    blame, its last error is raised.

    Args:
        data: The file.
        choose: Gives the indices, from 0, of the pages to read, by the number of pages.

    Returns:
        The pages, and the title of the document.

    Raises:
        DocumentError: The file is damaged or encrypted.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("encrypted", "the PDF needs a password; save a copy without one")
        return _read_pages(reader, choose(len(reader.pages))), _title(reader)
    except DocumentError:
        raise
    except (PyPdfError, NotImplementedError) as error:
        raise DocumentError("damaged", f"pypdf: {first_line(error)}") from None
    except (MemoryError, RecursionError, *CODE_ERRORS):
        raise
    except Exception as error:  # noqa: BLE001  on a damaged file pypdf raises almost any exception
        raise DocumentError("damaged", f"pypdf: {type(error).__name__}: {first_line(error)}") from None


def _read_pages(reader: Any, indices: Iterable[int]) -> list[Page]:
    pages: list[Page] = []
    code_error: Exception | None = None
    for index in indices:
        try:
            text = clean(reader.pages[index].extract_text())
            pages.append(Page(index + 1, tuple(map(Line, text.split("\n")))))
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001  as above; the other pages are kept
            code_error = error if isinstance(error, CODE_ERRORS) else code_error
            pages.append(Page(index + 1, is_readable=False))
    if code_error and not any(page.is_readable for page in pages):
        raise code_error
    return pages


def _title(reader: Any) -> str:
    title = reader.metadata.get("/Title") if reader.metadata else None
    return clean(title).strip() if isinstance(title, str) else ""
