"""Texts without control characters, for terminals."""

from __future__ import annotations

import logging
import re

#: Control characters (C0, DEL, C1) but tab and line feed: they move the cursor, set the title, or hide text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Replace the control characters of a text from documents, file names, or a language model."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


class PrintableRecord(logging.LogRecord):
    """A log record whose message has no control characters: it may quote a document, a name or a server."""

    def getMessage(self) -> str:  # noqa: N802  logging's name
        """Give the message with its arguments."""
        return printable(super().getMessage())
