"""The text that pdfium gives, made storable."""

from __future__ import annotations

import re

from roost.tasks.sources.text_encoding import clean

#: What pdfium puts where a hyphen ends a line; a word goes on after it.
_LINE_END_HYPHEN = re.compile("[\x02\ufffe]")
_DIVIDED_WORD = re.compile("(?<=[^\\W\\d_])[\x02\ufffe](?=[^\\W\\dA-Z_])")


def storable(text: str) -> str:
    """Make text of pdfium storable, with whole words and hyphens where lines end."""
    return _LINE_END_HYPHEN.sub("-", _DIVIDED_WORD.sub("", clean(text)))
