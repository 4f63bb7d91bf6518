"""Texts from documents, names and models without the characters that a terminal or a page carries out."""

from __future__ import annotations

import re

#: What has the text after it shown in another order: bidirectional embeddings, overrides and isolates.
REORDERING = "\u202a-\u202e\u2066-\u2069"
#: These, and control characters (C0, DEL, C1) but tab and line feed: they move the cursor, set the title, or hide text.
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{REORDERING}]")


def printable(text: str) -> str:
    """Replace the control characters of a text from documents, file names, or a language model."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """The same for what must be one line: a name, a reason."""
    return " ".join(printable(text).split())
