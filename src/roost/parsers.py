"""What a package needs that adds a parser to Roost; `docs/parsers.md` shows how.

    from roost.parsers import DocumentError, FunctionParser, Parsed, TextBlock

An object with the parts of `Parser`, named by an entry point of the group `roost.parsers`, is used as the built-in
parsers are. `roost.testing.check_parser` tests it.
"""

from __future__ import annotations

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser, PagedParser, Parser, ParserWithStandIn
from roost.tasks.sources.text_encoding import clean, decode

__all__ = [
    "DocumentError",
    "FunctionParser",
    "PageRange",
    "PagedParser",
    "Parsed",
    "Parser",
    "ParserWithStandIn",
    "TextBlock",
    "clean",
    "decode",
]
