"""Cut loaded documents into chunks that fit the embedding model's window.

Markdown is split along its headings first, then everything by sentences, with llama-index node parsers that
measure with the model's own tokenizer. Runs in worker processes: the interpreter lock would stall the loop.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from roost.tasks.errors import DocumentError, ModelError
from roost.tasks.ids import chunk_hash
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.records import CHUNK, REJECT, Chunked, Loaded
from roost.tasks.settings import Chunking
from roost.tasks.workers import Workers, WorkerTimeLimitError

if TYPE_CHECKING:
    from llama_index.core.node_parser import SentenceSplitter


#: A chunk never has more characters: 4 bytes each, it must fit Milvus' longest VARCHAR (65,535 bytes).
MAX_CHARACTERS = 16_000

#: Longest heading path kept, characters.
MAX_HEADING = 500

#: Bytes of text for which it pays to have another worker cut a part of them.
PART_BYTES = 100_000

_NO_BLANK = re.compile(r"\S")
_PATH = "\x1f"  # between the headings of a path, while llama-index holds it


def check_window(chunking: Chunking, model: Model) -> None:
    """Refuse chunks that the model would cut off in silence.

    What is not cut at all (`chunking.method` is `none`) was asked for by that name, and is counted.

    Raises:
        ModelError: Size, special tokens and instruction together exceed the model's window.
    """
    if chunking.method == "none":
        return
    instruction = len(load_tokenizer(model.tokenizer_file).encode(model.text_instruction).ids)
    overhead = max(model.special_tokens, instruction)
    if chunking.size + overhead > model.window:
        raise ModelError(
            f"ROOST_CHUNKING__SIZE={chunking.size} does not fit {model.name}: its window is {model.window} "
            f"tokens, {overhead} of them its own; the largest size is {model.window - overhead}"
        )


async def chunk_batch(loaded: Loaded, chunking: Chunking, model: Model, workers: Workers, *, seconds: float) -> Chunked:
    """Cut every document of a batch, in worker processes; one that cannot be cut refuses itself.

    Args:
        loaded: The batch.
        chunking: Sizes in tokens.
        model: Whose tokenizer measures.
        workers: Where to work.
        seconds: Time limit for the batch, and for one document where the batch fails.
    """
    started = time.perf_counter()
    whole = chunking.method == "none"
    sizes = (0 if whole else chunking.size, chunking.overlap, str(model.tokenizer_file))
    chunks, refused = CHUNK.to_frame(), dict[str, DocumentError]()
    if loaded.passages.height:
        try:
            parts = _parts(loaded.passages, 1 if whole else workers.size)
            cuts = await asyncio.gather(*(workers.run(cut, (part, *sizes), seconds) for part in parts))
            chunks = pl.concat(cuts).with_columns(ordinal=pl.int_range(pl.len()).over("doc_id"))
        except Exception:  # noqa: BLE001  whatever it is, one document's text did it: find that one
            chunks, refused = await _cut_singly(loaded.passages, sizes, workers, seconds)
    empty = loaded.documents.join(chunks, on="doc_id", how="anti")
    rejects = pl.concat([loaded.rejects, _refusals(empty, refused)])
    documents = loaded.documents.join(empty, on="doc_id", how="anti")
    return Chunked(loaded.name, documents, chunks, rejects, time.perf_counter() - started)


def _parts(passages: pl.DataFrame, count: int) -> list[pl.DataFrame]:
    """Share out passages, which are cut each by itself, in their order: about as much text for each worker."""
    size = pl.col("text").str.len_bytes()
    total = int(passages.select(size.sum()).item())
    count = max(1, min(count, total // PART_BYTES))
    nth = (size.cum_sum() - size) * count // (total + 1)
    return passages.with_columns(part=nth).partition_by("part", maintain_order=True, include_key=False)


async def _cut_singly(
    passages: pl.DataFrame, sizes: tuple[int, int, str], workers: Workers, seconds: float
) -> tuple[pl.DataFrame, dict[str, DocumentError]]:
    chunks, refused = [CHUNK.to_frame()], {}
    for (document,), own in passages.group_by("doc_id", maintain_order=True):
        try:
            chunks.append(await workers.run(cut, (own, *sizes), seconds))
        except WorkerTimeLimitError:
            refused[str(document)] = DocumentError("too_slow", f"cutting it takes more than {seconds:g} s")
        except MemoryError:
            refused[str(document)] = DocumentError("too_large", "cutting it takes more memory than a worker may have")
        except Exception as error:  # noqa: BLE001  as above
            refused[str(document)] = DocumentError("damaged", f"its text cannot be cut: {error}")
    return pl.concat(chunks), refused


def _refusals(documents: pl.DataFrame, why: dict[str, DocumentError]) -> pl.DataFrame:
    nothing = DocumentError("no_text", "nothing is left to index")
    errors = [why.get(document, nothing) for document in documents["doc_id"]]
    reasons = pl.Series([error.reason for error in errors], dtype=pl.String)
    details = pl.Series([error.detail for error in errors], dtype=pl.String)
    return documents.with_columns(reason=reasons, detail=details).select(list(REJECT)).cast(REJECT)


def cut(passages: pl.DataFrame, size: int, overlap: int, tokenizer_file: str) -> pl.DataFrame:
    """Cut passages (a frame of `TEXT_BLOCK`) into chunks (a frame of `CHUNK`), ordinals from 0 in each document.

    Size 0 cuts nothing: each document is one chunk.
    """
    if not size:
        return _whole(passages, tokenizer_file)
    splitter = _splitter(size, overlap, tokenizer_file)
    rows: list[dict[str, Any]] = []
    ordinals: dict[str, int] = {}
    for passage in passages.iter_rows(named=True):
        for piece in _pieces(passage, splitter, size, tokenizer_file):
            ordinal = ordinals.get(passage["doc_id"], 0)
            ordinals[passage["doc_id"]] = ordinal + 1
            rows.append({"doc_id": passage["doc_id"], "ordinal": ordinal, "page": passage["page"], **piece})
    return pl.DataFrame(rows, schema=CHUNK)


def _whole(passages: pl.DataFrame, tokenizer_file: str) -> pl.DataFrame:
    """Take each document as one chunk; of a very long one, the text that a row can hold, and the tokens of it all."""
    rows = []
    for (document,), own in passages.group_by("doc_id", maintain_order=True):
        text = "\n".join(own["text"])
        if text.strip():
            kept = text[:MAX_CHARACTERS]
            rows.append(
                {
                    "doc_id": document, "ordinal": 0, "text": kept, "chunk_hash": chunk_hash(kept),
                    "page": own["page"][0], "heading": "", "start": own["start"][0],
                    "end": own["start"][0] + len(text), "tokens": _count_tokens(text, tokenizer_file),
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=CHUNK)


def _pieces(
    passage: dict[str, Any], splitter: SentenceSplitter, size: int, tokenizer_file: str
) -> Iterator[dict[str, Any]]:
    text, base = passage["text"], passage["start"]
    sections = _sections(text) if passage["markdown"] else [("", 0, text)]
    for heading, offset, section in sections:
        for start, piece in _located(splitter.split_text(section), section):
            for inner, part, tokens in _bounded(piece, size, tokenizer_file):
                if not part.strip():
                    continue
                begin = base + offset + start + inner
                yield {
                    "text": part,
                    "chunk_hash": chunk_hash(part),
                    "heading": heading,
                    "start": begin,
                    "end": begin + len(part),
                    "tokens": tokens,
                }


def _sections(markdown: str) -> list[tuple[str, int, str]]:
    """Split Markdown along its headings: (heading path, offset in the text, section)."""
    from llama_index.core.node_parser import MarkdownNodeParser
    from llama_index.core.schema import Document

    sections, end = [], 0
    for node in MarkdownNodeParser(header_path_separator=_PATH).get_nodes_from_node(Document(text=markdown)):
        start = _next_word(markdown, end)  # sections leave out blanks only, and may hold another blank after a `#`
        end = start + len(node.get_content())
        path = _heading_path(str(node.metadata.get("header_path", "")), markdown[start:end])
        sections.append((path, start, markdown[start:end]))
    return sections


def _heading_path(parents: str, section: str) -> str:
    first = section.split("\n", 1)[0]
    marks = first.lstrip("#")
    own = marks if first != marks and marks[:1].isspace() else ""
    names = (re.sub(r"<[^>]*>", "", name).strip() for name in [*parents.split(_PATH), own])
    return " > ".join(name for name in names if name)[:MAX_HEADING]


def _located(pieces: Iterable[str], text: str) -> Iterator[tuple[int, str]]:
    """Find where each piece begins in the text it was cut from.

    Neighbours may overlap but leave out blanks only. In a text that repeats itself, the latest place that leaves
    no gap is taken: an earlier one would leave the end of the text in no piece.
    """
    end = 0
    for piece in pieces:
        start = text.rfind(piece, 0, _next_word(text, end) + len(piece))
        end = start + len(piece)
        yield start, piece


def _next_word(text: str, position: int) -> int:
    """Find the first character from a position on that is no blank."""
    found = _NO_BLANK.search(text, position)
    return found.start() if found else len(text)


def _bounded(piece: str, size: int, tokenizer_file: str) -> Iterator[tuple[int, str, int]]:
    """Halve a piece until it fits: llama-index adds up the tokens of its parts, the whole may have more."""
    tokens = _count_tokens(piece, tokenizer_file)
    if (tokens <= size and len(piece) <= MAX_CHARACTERS) or len(piece) < 2:
        yield 0, piece, tokens
        return
    middle = piece.rfind(" ", 1, len(piece) // 2 + 1)
    middle = middle if middle > len(piece) // 4 else len(piece) // 2
    for offset, part in ((0, piece[:middle]), (middle, piece[middle:])):
        for inner, text, count in _bounded(part, size, tokenizer_file):
            yield offset + inner, text, count


def _count_tokens(text: str, tokenizer_file: str) -> int:
    return len(_tokenizer(tokenizer_file).encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=2)
def _tokenizer(file: str) -> Any:
    return load_tokenizer(Path(file))


@lru_cache(maxsize=2)
def _splitter(size: int, overlap: int, tokenizer_file: str) -> SentenceSplitter:
    from llama_index.core.node_parser import SentenceSplitter

    tokenizer = _tokenizer(tokenizer_file)
    return SentenceSplitter(
        chunk_size=size,
        chunk_overlap=overlap,
        tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    )
