"""Cutting of text blocks into chunks that fit the embedding model's window; run in worker processes.

Markdown is split along its headings first, then everything by sentences, with llama-index's node parsers, which count
with the model's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from roost.tasks.ids import chunk_hash
from roost.tasks.models.embedded_texts import CONTEXT_END
from roost.tasks.records import CHUNK
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.cut_tables import cut_table
from roost.tasks.steps.sections import Section, join_headings, join_paths, make_context, next_word, split_sections
from roost.tasks.steps.splitters import sentence_splitter
from roost.tasks.steps.text_files import read_blocks
from roost.tasks.steps.token_count import count_tokens

#: Longest chunk: at 4 bytes a character it fits Milvus' longest VARCHAR (65,535 bytes).
MAX_CHUNK_CHARACTERS = 16_000


def cut_spooled(places: pl.DataFrame, sizes: CutSizes) -> pl.DataFrame:
    """Cut text blocks that are in files of the spool into chunks, in a worker process.

    Args:
        places: Frame of `TEXT_PLACE`, and the `title` and the `field_text` of each document.
        sizes: Sizes of the chunks.

    Returns:
        Frame of `CHUNK`, as `cut_blocks` gives it.

    Raises:
        TransientError: A file cannot be read.
    """
    about = places.select("doc_id", "title", "field_text").unique("doc_id")
    titles, fields = (dict(about.select("doc_id", name).iter_rows()) for name in ("title", "field_text"))
    return cut_blocks(read_blocks(places), sizes, titles, fields)


def cut_blocks(
    blocks: pl.DataFrame,
    sizes: CutSizes,
    titles: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Cut text blocks into chunks.

    Args:
        blocks: Frame of `TEXT_BLOCK`.
        sizes: Sizes of the chunks.
        titles: Titles of the documents by `doc_id`, for the context.
        fields: Names and values of fields by `doc_id`, for the context.

    Returns:
        Frame of `CHUNK`; ordinals count from 0 in each document, `start` and `end` in characters of the document.
    """
    if not sizes.size:
        return _whole_documents(blocks, sizes.tokenizer_file)
    rows: list[dict[str, Any]] = []
    ordinals: dict[str, int] = {}
    for block in blocks.iter_rows(named=True):
        about = _About((titles or {}).get(block["doc_id"], ""), (fields or {}).get(block["doc_id"], ""))
        for chunk in _cut_block(block, sizes, about):
            ordinal = ordinals.get(block["doc_id"], 0)
            ordinals[block["doc_id"]] = ordinal + 1
            rows.append({"doc_id": block["doc_id"], "ordinal": ordinal, "page": block["page"], **chunk})
    return pl.DataFrame(rows, schema=CHUNK)


class _About(NamedTuple):
    """What of a document is embedded with its chunks: its title, and names and values of fields."""

    title: str
    fields: str


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


def _cut_block(block: dict[str, Any], sizes: CutSizes, about: _About) -> Iterator[dict[str, Any]]:
    if block["kind"] == "table":
        yield from _cut_table(block, sizes, about)
        return
    sections = [Section("", 0, block["text"])]
    if block["kind"] == "markdown":
        sections = list(join_headings(split_sections(block["text"]), block["text"]))
    for section in sections:
        heading = join_paths(block["heading"], section.heading)
        context = make_context(about.title, heading, sizes, about.fields)
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


def _cut_table(block: dict[str, Any], sizes: CutSizes, about: _About) -> Iterator[dict[str, Any]]:
    """Cut a table between its rows; a row that is longer than a chunk is cut as other text."""
    context = make_context(about.title, block["heading"], sizes, about.fields)
    prefix = context and context + CONTEXT_END
    size = sizes.without(context).size
    for part in cut_table(block["text"], size, lambda text: count_tokens(text, sizes.tokenizer_file)):
        start = block["start"] + part.start
        tokens = count_tokens(prefix + part.text, sizes.tokenizer_file)
        if part.is_row or tokens > sizes.size or len(part.text) > MAX_CHUNK_CHARACTERS:
            rows = block["text"][part.start : part.end]
            yield from _cut_block({**block, "kind": "text", "text": rows, "start": start}, sizes, about)
        else:
            place = {"heading": block["heading"], "context": context, "start": start, "end": block["start"] + part.end}
            yield {"text": part.text, "chunk_hash": chunk_hash(part.text), **place, "tokens": tokens}


def _locate(pieces: Iterable[str], text: str) -> Iterator[tuple[int, str]]:
    """Find where each piece begins in the text that it was cut from.

    Neighbours may overlap but leave out white space only. In a text that repeats itself, the latest place that leaves
    no gap is taken: an earlier one would leave the end of the text in no piece.
    """
    end = 0
    for piece in pieces:
        start = text.rfind(piece, 0, next_word(text, end) + len(piece))
        end = start + len(piece)
        yield start, piece


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
