"""Cutting of text blocks into chunks that fit the embedding model's window; run in worker processes.

Markdown is split along its headings first, then everything by sentences, with llama-index's node parsers, which count
with the model's own tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from roost.tasks.ids import chunk_hash
from roost.tasks.models.embedded_texts import CONTEXT_END
from roost.tasks.records import CHUNK
from roost.tasks.steps.cut_tables import cut_table
from roost.tasks.steps.splitters import PATH_SEPARATOR, count_tokens, sentence_splitter, split_headings
from roost.tasks.steps.text_files import read_blocks

#: Longest chunk: at 4 bytes a character it fits Milvus' longest VARCHAR (65,535 bytes).
MAX_CHUNK_CHARACTERS = 16_000
#: Longest heading path that is kept.
MAX_HEADING_CHARACTERS = 500

_NOT_BLANK = re.compile(r"\S")


class CutSizes(NamedTuple):
    """Sizes of chunks.

    size: Longest chunk, tokens; 0: each document is one chunk.
    overlap: Tokens that neighbours share at most.
    tokenizer_file: `tokenizer.json` of the model that counts the tokens.
    has_context: Whether title and headings are embedded before each chunk; they count as part of its size.
    """

    size: int
    overlap: int
    tokenizer_file: str
    has_context: bool = False

    def without(self, context: str) -> CutSizes:
        """Give the sizes of chunks that leave room for a context."""
        used = count_tokens(context + CONTEXT_END, self.tokenizer_file) if context else 0
        return self._replace(size=self.size - used, overlap=min(self.overlap, (self.size - used) // 2))


class _Section(NamedTuple):
    heading: str
    start: int
    text: str


def cut_spooled(places: pl.DataFrame, sizes: CutSizes) -> pl.DataFrame:
    """Cut text blocks that are in files of the spool into chunks, in a worker process.

    Args:
        places: Frame of `TEXT_PLACE`, and the `title` of each document.
        sizes: Sizes of the chunks.

    Returns:
        Frame of `CHUNK`, as `cut_blocks` gives it.

    Raises:
        TransientError: A file cannot be read.
    """
    titles = places.select("doc_id", "title").unique("doc_id")
    return cut_blocks(read_blocks(places), sizes, dict(titles.iter_rows()))


def cut_blocks(blocks: pl.DataFrame, sizes: CutSizes, titles: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Cut text blocks into chunks.

    Args:
        blocks: Frame of `TEXT_BLOCK`.
        sizes: Sizes of the chunks.
        titles: Titles of the documents by `doc_id`, for the context.

    Returns:
        Frame of `CHUNK`; ordinals count from 0 in each document, `start` and `end` in characters of the document.
    """
    if not sizes.size:
        return _whole_documents(blocks, sizes.tokenizer_file)
    rows: list[dict[str, Any]] = []
    ordinals: dict[str, int] = {}
    for block in blocks.iter_rows(named=True):
        for chunk in _cut_block(block, sizes, (titles or {}).get(block["doc_id"], "")):
            ordinal = ordinals.get(block["doc_id"], 0)
            ordinals[block["doc_id"]] = ordinal + 1
            rows.append({"doc_id": block["doc_id"], "ordinal": ordinal, "page": block["page"], **chunk})
    return pl.DataFrame(rows, schema=CHUNK)


def _whole_documents(blocks: pl.DataFrame, tokenizer_file: str) -> pl.DataFrame:
    """Make one chunk of each document; `tokens` counts all of the text, `text` is cut to what a row can store."""
    rows = []
    for (document,), own in blocks.group_by("doc_id", maintain_order=True):
        text = "\n".join(own["text"])
        if text.strip():
            kept = text[:MAX_CHUNK_CHARACTERS]
            rows.append(
                {
                    "doc_id": document,
                    "ordinal": 0,
                    "text": kept,
                    "chunk_hash": chunk_hash(kept),
                    "page": own["page"][0],
                    "heading": "",
                    "context": "",
                    "start": own["start"][0],
                    "end": own["start"][0] + len(text),
                    "tokens": count_tokens(text, tokenizer_file),
                }
            )
    return pl.DataFrame(rows, schema=CHUNK)


def _cut_block(block: dict[str, Any], sizes: CutSizes, title: str) -> Iterator[dict[str, Any]]:
    if block["kind"] == "table":
        yield from _cut_table(block, sizes, title)
        return
    sections = [_Section("", 0, block["text"])]
    if block["kind"] == "markdown":
        sections = list(_join_headings(_split_sections(block["text"]), block["text"]))
    for section in sections:
        heading = _join_paths(block["heading"], section.heading)
        context = make_context(title, heading, sizes)
        room = sizes.without(context)
        split = sentence_splitter(room.size, room.overlap, room.tokenizer_file)
        for start, piece in _locate(split(section.text), section.text):
            for offset, text, tokens in _halve(piece, sizes, context and context + CONTEXT_END):
                if not text.strip():
                    continue
                begin = block["start"] + section.start + start + offset
                yield {
                    "text": text,
                    "chunk_hash": chunk_hash(text),
                    "heading": heading,
                    "context": context,
                    "start": begin,
                    "end": begin + len(text),
                    "tokens": tokens,
                }


def _cut_table(block: dict[str, Any], sizes: CutSizes, title: str) -> Iterator[dict[str, Any]]:
    """Cut a table between its rows; a row that is longer than a chunk is cut as other text."""
    context = make_context(title, block["heading"], sizes)
    prefix = context and context + CONTEXT_END
    size = sizes.without(context).size
    for part in cut_table(block["text"], size, lambda text: count_tokens(text, sizes.tokenizer_file)):
        start = block["start"] + part.start
        tokens = count_tokens(prefix + part.text, sizes.tokenizer_file)
        if part.is_row or tokens > sizes.size or len(part.text) > MAX_CHUNK_CHARACTERS:
            rows = block["text"][part.start : part.end]
            yield from _cut_block({**block, "kind": "text", "text": rows, "start": start}, sizes, title)
        else:
            place = {"heading": block["heading"], "context": context, "start": start, "end": block["start"] + part.end}
            yield {"text": part.text, "chunk_hash": chunk_hash(part.text), **place, "tokens": tokens}


def _split_sections(markdown: str) -> list[_Section]:
    """Split Markdown along its headings: heading path, offset in the text, text of the section."""
    sections, end = [], 0
    for content, parents in split_headings(markdown):
        # Sections leave out white space only, and may replace the white space after a `#` by another one.
        start = _next_word(markdown, end)
        end = start + len(content)
        text = markdown[start:end]
        sections.append(_Section(_heading_path(parents, text), start, text))
    return sections


def _join_headings(sections: Sequence[_Section], markdown: str) -> Iterator[_Section]:
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
        yield _Section(section.heading, start, markdown[start : ending.start + len(ending.text)])
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


def make_context(title: str, heading: str, sizes: CutSizes) -> str:
    """Make the context of a chunk: `title > heading path`, at most a third of the chunk's size.

    A title that the path begins with is not repeated. What is too long loses words at its end.

    Args:
        title: Title of the document, or empty.
        heading: Heading path, or empty.
        sizes: Sizes of the chunks; empty without `has_context`.
    """
    if not sizes.has_context:
        return ""
    repeats = (heading + " > ").startswith(title + " > ")
    context = heading if repeats else " > ".join(filter(None, (title, heading)))
    words = context[:MAX_HEADING_CHARACTERS].split()
    while words and count_tokens(" ".join(words) + CONTEXT_END, sizes.tokenizer_file) > sizes.size // 3:
        words = words[: min(len(words) - 1, 3 * len(words) // 4)]
    return " ".join(words).removesuffix(" >")


def _join_paths(above: str, own: str) -> str:
    """Join the path of the headings above a block and the path inside it."""
    return " > ".join(filter(None, (above, own)))[:MAX_HEADING_CHARACTERS]


def _locate(pieces: Iterable[str], text: str) -> Iterator[tuple[int, str]]:
    """Find where each piece begins in the text that it was cut from.

    Neighbours may overlap but leave out white space only. In a text that repeats itself, the latest place that leaves
    no gap is taken: an earlier one would leave the end of the text in no piece.
    """
    end = 0
    for piece in pieces:
        start = text.rfind(piece, 0, _next_word(text, end) + len(piece))
        end = start + len(piece)
        yield start, piece


def _next_word(text: str, position: int) -> int:
    """Find the first character from a position on that is not white space."""
    found = _NOT_BLANK.search(text, position)
    return found.start() if found else len(text)


def _halve(piece: str, sizes: CutSizes, prefix: str = "") -> Iterator[tuple[int, str, int]]:
    """Halve a piece until it fits: llama-index adds up the tokens of its parts, the whole may have more.

    Args:
        piece: The piece.
        sizes: Sizes of the chunks.
        prefix: What is embedded before each text; it counts.

    Yields:
        Offset in the piece, text, tokens of prefix and text.
    """
    tokens = count_tokens(prefix + piece, sizes.tokenizer_file)
    if (tokens <= sizes.size and len(piece) <= MAX_CHUNK_CHARACTERS) or len(piece) < 2:
        yield 0, piece, tokens
        return
    middle = piece.rfind(" ", 1, len(piece) // 2 + 1)
    middle = middle if middle > len(piece) // 4 else len(piece) // 2
    for offset, half in ((0, piece[:middle]), (middle, piece[middle:])):
        for inner, text, count in _halve(half, sizes, prefix):
            yield offset + inner, text, count
