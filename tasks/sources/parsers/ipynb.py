"""Parser for Jupyter notebooks (.ipynb): texts, code and the text of outputs, in the order of the cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.markdown import first_heading
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import clean, decode

#: Longest output of a cell that is kept, characters.
_MAX_OUTPUT_CHARACTERS = 5_000
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def parse_ipynb(data: bytes) -> Parsed:
    """Parse a notebook as Markdown: code and outputs are code blocks, pictures and HTML are left out.

    Raises:
        DocumentError: The file is no notebook.
    """
    try:
        notebook = orjson.loads(decode(data))
    except orjson.JSONDecodeError as error:
        raise DocumentError("damaged", f"not a readable notebook: {error}") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict):  # before version 4
        sheets = notebook.get("worksheets")
        cells = [cell for sheet in _dicts(sheets) for cell in _dicts(sheet.get("cells"))]
    if not isinstance(cells, list):
        raise DocumentError("damaged", "not a readable notebook: it has no cells")
    language = _language(notebook)
    text = "\n\n".join(part for cell in _dicts(cells) for part in _cell_parts(cell, language))
    return Parsed((TextBlock(text, kind="markdown"),), first_heading(text))


def _cell_parts(cell: dict[str, Any], language: str) -> Iterator[str]:
    source = _joined(cell.get("source", cell.get("input")))
    if cell.get("cell_type") != "code":
        if source.strip():
            yield source
        return
    if source.strip():
        yield _fenced(source, language)
    for output in _dicts(cell.get("outputs")):
        bundle = output.get("data")
        plain = bundle.get("text/plain") if isinstance(bundle, dict) else None
        text = _TERMINAL_COLOURS.sub("", _joined(output.get("text", plain if plain else output.get("traceback"))))
        if text.strip():
            yield _fenced(text[:_MAX_OUTPUT_CHARACTERS], "")


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    info = metadata.get("language_info") if isinstance(metadata, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) and re.fullmatch(r"[\w+#-]{1,20}", name) else ""


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _joined(text: Any) -> str:
    """Join a text that may be written as a list of lines."""
    if isinstance(text, list):
        text = "".join(part for part in text if isinstance(part, str))
    return clean(text) if isinstance(text, str) else ""


PARSER = FunctionParser("ipynb", (".ipynb",), ("application/x-ipynb+json",), parse_ipynb, revision="roost-ipynb 1")
