"""Parser for plain text and source code in any encoding."""

from __future__ import annotations

from roost.tasks.sources.parsers.parsed import Parsed, ParserId, TextBlock
from roost.tasks.sources.text_encoding import decode

#: Raise the version when the text of unchanged files comes out differently.
PARSER = ParserId("text", "roost-text 1")


def parse_text(data: bytes) -> Parsed:
    """Parse plain text or source code.

    Raises:
        DocumentError: The bytes are not text.
    """
    return Parsed((TextBlock(decode(data)),))
