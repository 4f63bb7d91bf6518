"""Sections of a Markdown text, the headings above them, and the context of a chunk that is made of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from roost.tasks.models.embedded_texts import CONTEXT_END
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.splitters import PATH_SEPARATOR, split_headings
from roost.tasks.steps.token_count import count_tokens

#: Longest heading path that is kept.
MAX_HEADING_CHARACTERS = 500

_NOT_BLANK = re.compile(r"\S")


class Section(NamedTuple):
    """A section: its heading path, where it begins in the text, and its own text."""

    heading: str
    start: int
    text: str


def split_sections(markdown: str) -> list[Section]:
    """Split Markdown along its headings: heading path, offset in the text, text of the section."""
    sections, end = [], 0
    for content, parents in split_headings(markdown):
        # Sections leave out white space only, and may replace the white space after a `#` by another one.
        start = next_word(markdown, end)
        end = start + len(content)
        text = markdown[start:end]
        sections.append(Section(_heading_path(parents, text), start, text))
    return sections


def join_headings(sections: Sequence[Section], markdown: str) -> Iterator[Section]:
    """Join a section that is a heading only with the one after it, at the end of the text with the one before it.

    A heading alone would be a chunk that wins searches and answers nothing.
    """
    last = len(sections) - 1
    while last > 0 and _is_heading_only(sections[last].text):
        last -= 1
    start = None
    for number, section in enumerate(sections[: last + 1]):
        start = section.start if start is None else start
        if number < last and _is_heading_only(section.text):
            continue
        ending = sections[-1] if number == last else section
        yield Section(section.heading, start, markdown[start : ending.start + len(ending.text)])
        start = None


def _is_heading_only(section: str) -> bool:
    return bool(_own_heading(section)) and "\n" not in section.strip()


def _own_heading(section: str) -> str:
    """Give the heading that a section begins with; empty where it begins with none."""
    first = section.split("\n", 1)[0]
    without_marks = first.lstrip("#")
    return without_marks if first != without_marks and without_marks[:1].isspace() else ""


def _heading_path(parents: str, section: str) -> str:
    """Join the headings above a section and its own, as in `Guide > Install`, without HTML tags."""
    # A `<` that nothing closes is looked for to the end of the name: of a long one, only the beginning is read.
    known = (name[: 4 * MAX_HEADING_CHARACTERS] for name in [*parents.split(PATH_SEPARATOR), _own_heading(section)])
    names = (re.sub(r"<[^>]*>", "", name).strip() for name in known)
    return " > ".join(name for name in names if name)[:MAX_HEADING_CHARACTERS]


def make_context(title: str, heading: str, sizes: CutSizes, fields: str = "") -> str:
    """Make the context of a chunk: `title > heading path`, then a line of fields; at most a third of the chunk's size.

    A title that the path begins with is not repeated. What is too long loses words at its end; beside headings, fields
    have half of the room.

    Args:
        title: Title of the document, or empty.
        heading: Heading path, or empty.
        sizes: Sizes of the chunks; without `has_context` there is no title and no path.
        fields: Names and values of fields, or empty.
    """
    room = sizes.size // 3
    line = _shorten(fields, room // 2 if sizes.has_context else room, sizes)
    if not sizes.has_context:
        return line
    repeats = (heading + " > ").startswith(title + " > ")
    path = heading if repeats else " > ".join(filter(None, (title, heading)))
    used = count_tokens(line, sizes.tokenizer_file) if line else 0
    return "\n".join(filter(None, (_shorten(path, room - used, sizes).removesuffix(" >"), line)))


def _shorten(text: str, max_tokens: int, sizes: CutSizes) -> str:
    """Drop words at the end of a text until it fits, with what is put after a context."""
    words = text[:MAX_HEADING_CHARACTERS].split()
    while words and count_tokens(" ".join(words) + CONTEXT_END, sizes.tokenizer_file) > max_tokens:
        words = words[: min(len(words) - 1, 3 * len(words) // 4)]
    return " ".join(words)


def join_paths(above: str, own: str) -> str:
    """Join the path of the headings above a block and the path inside it."""
    return " > ".join(filter(None, (above, own)))[:MAX_HEADING_CHARACTERS]


def next_word(text: str, position: int) -> int:
    """Find the first character from a position on that is not white space."""
    found = _NOT_BLANK.search(text, position)
    return found.start() if found else len(text)
