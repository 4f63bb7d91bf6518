"""Parser for Markdown and MDX with YAML front matter."""

from __future__ import annotations

import json
import re
from typing import Any

from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import clean, decode

#: Longest front matter that is taken as metadata, bytes of JSON.
MAX_FRONT_MATTER_BYTES = 100_000

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_CODE_BLOCK = re.compile(r"^ {0,3}(```|~~~).*?(^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_TOP_HEADING = re.compile(r"^#[^\S\n]+(\S.*)$", re.MULTILINE)


def parse_markdown(data: bytes) -> Parsed:
    """Parse Markdown: front matter becomes metadata, the rest stays unchanged.

    A file that consists of front matter only (a stub, or a page that a site generator fills) has the front matter as
    its text.

    Raises:
        DocumentError: The bytes are not text.
    """
    metadata, body = split_front_matter(decode(data))
    title = clean(str(metadata.pop("title", "") or first_heading(body)))
    if not body.strip():
        body = clean("\n".join(filter(None, [title, *(f"{key}: {value}" for key, value in metadata.items())])))
    return Parsed((TextBlock(body, kind="markdown"),), title, _facts(metadata) | metadata)


def _facts(metadata: dict[str, Any]) -> dict[str, Any]:
    """Give what front matter says of the document under the names that all formats share."""
    authors = metadata.get("authors", metadata.get("author", ()))
    return document_facts(
        authors=authors if isinstance(authors, list) else [authors],
        created=metadata.get("created", metadata.get("date")),
        language=metadata.get("language", metadata.get("lang")),
    )


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split YAML front matter from the body. Without valid front matter: empty metadata and the whole text."""
    import yaml

    match = _FRONT_MATTER.match(text)
    if not match:
        return {}, text
    try:
        metadata = yaml.safe_load(match.group(1))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text
    if not isinstance(metadata, dict) or not _is_small_json(metadata):
        return {}, text
    return {str(key): value for key, value in metadata.items()}, text[match.end() :]


def first_heading(markdown: str) -> str:
    """Find the first `# heading` outside code blocks; empty when there is none."""
    heading = _TOP_HEADING.search(_CODE_BLOCK.sub("", markdown))
    return _without_closing(heading.group(1)) if heading else ""


def _without_closing(heading: str) -> str:
    """Drop the `#` that may close a heading; one that is part of a word, as in `C#`, stays."""
    text = heading.rstrip()
    name = text.rstrip("#")
    return name.rstrip() if not name or name[-1].isspace() else text


def _is_small_json(metadata: dict[Any, Any]) -> bool:
    """Whether metadata can be written as JSON of bounded size.

    YAML can contain cycles, NaN, lone surrogates, and aliases that expand to gigabytes.
    """
    size = 0
    try:
        for part in json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).iterencode(metadata):
            size += len(part.encode())
            if size > MAX_FRONT_MATTER_BYTES:
                return False
    except (TypeError, ValueError, RecursionError):
        return False
    return True


PARSER = FunctionParser(
    "markdown", (".md", ".markdown", ".mdx"), ("text/markdown",), parse_markdown, revision="roost-markdown 1"
)
