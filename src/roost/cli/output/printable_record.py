"""Log records without control characters, for terminals."""

from __future__ import annotations

import logging

from roost.tasks.printable import printable


class PrintableRecord(logging.LogRecord):
    """A log record whose message has no control characters: it may quote a document, a name or a server."""

    def getMessage(self) -> str:  # noqa: N802  logging's name
        """Give the message with its arguments."""
        return printable(super().getMessage())
