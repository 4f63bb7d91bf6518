"""Parser for plain text and source code in any encoding."""

from __future__ import annotations

from roost.tasks.sources.parsers.parsed import Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import decode


def parse_text(data: bytes) -> Parsed:
    """Parse plain text or source code.

    Raises:
        DocumentError: The bytes are not text.
    """
    return Parsed((TextBlock(decode(data)),))


#: Also the parser of suffixes that no parser names.
PARSER = FunctionParser("text", (".txt",), ("text/plain",), parse_text, revision="roost-text 1")
