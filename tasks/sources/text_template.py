"""The text of a row: a column, or a template such as `{subject}: {body}`, of which each name in braces is a column."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_NAME = re.compile(r"\{([^{}]+)\}")


def text_columns(text: str, names: Sequence[str]) -> list[str]:
    """Give the columns of a text: those that a template names, or the column itself.

    Args:
        text: A column's name or a template.
        names: The columns that there are; one with the very name of the template is that column.
    """
    if text in names:
        return [text]
    return list(dict.fromkeys(_NAME.findall(text))) or [text]


def fill_text(text: str, names: Sequence[str], value: Callable[[str], str]) -> str:
    """Give the text of a row; empty where all the columns of its template are.

    Args:
        text: A column's name or a template.
        names: The columns of the row.
        value: Gives the text of a column.
    """
    if text in names or not _NAME.search(text):
        return value(text)
    values = {name: value(name) for name in text_columns(text, names)}
    return _NAME.sub(lambda found: values[found[1]], text) if any(map(str.strip, values.values())) else ""
