"""Questions with judgments: read from files, or sampled from the index itself.

A judgment names a document by its path in its source, by the id of its row in a table, by `source/path`, or by its
`doc_id`; with a span it judges a part of the document. A judgment of a document that is not in the index is kept, and
counts as not found.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from roost.tasks.errors import DocumentError, UsageError, unknown_value
from roost.tasks.ids import digest
from roost.tasks.milvus.expressions import one_of
from roost.tasks.milvus.store import Store
from roost.tasks.packaged_files import resolve_packaged
from roost.tasks.sources.table_readers import READERS, row_error
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.version import Version

QUESTION = pl.Schema({"question": pl.String, "text": pl.String})

#: Span in characters of the document's text, end exclusive; null where the whole document is judged.
JUDGMENT = pl.Schema(
    {"question": pl.String, "document": pl.String, "grade": pl.Int64, "start": pl.Int64, "end": pl.Int64}
)

#: A judgment with the document that it names; if it names none, `doc_id` is empty and `why` contains the reason.
RESOLVED = pl.Schema([*JUDGMENT.items(), ("doc_id", pl.String), ("why", pl.String)])

#: File of `qrels` that is read by default.
DEFAULT_SPLIT = "test"
#: Questions that are sampled at least, where the documents have as many sentences.
MIN_SAMPLED = 50
#: Numbers of words that a sampled sentence may have.
_WORD_COUNTS = range(6, 41)
_SENTENCE = re.compile(r"(?<=[.!?。])\s+|\n{2,}")


@dataclass(frozen=True)
class Questions:
    """Questions and their judgments.

    origin: Where they come from, as text.
    asked: Frame of `QUESTION`.
    judgments: Frame of `JUDGMENT`; may be empty.
    sampled: Whether they are sentences sampled from the index (synthetic questions).
    """

    origin: str
    asked: pl.DataFrame
    judgments: pl.DataFrame
    sampled: bool = False

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of the questions and judgments; only evaluations with equal ones may be compared."""
        rows = [*self.asked.sort("question").rows(), *self.judgments.sort(*JUDGMENT).rows()]
        return digest(orjson.dumps(rows), 6)

    @property
    def judged(self) -> list[str]:
        """Ids of the questions that have a relevant document, in the order asked."""
        answered = self.judgments.filter(pl.col("grade") > 0).unique("question")
        return self.asked.join(answered, on="question", how="semi", maintain_order="left")["question"].to_list()


def read_questions(place: str | Path, split: str = "") -> Questions:
    """Read questions from a folder in the BEIR layout (`queries.jsonl`, `qrels/*.tsv`) or from one JSON Lines file.

    A line of the file is `{"query": ..., "relevant": [...]}`, or with `text` instead of `query`. An element of
    `relevant` is a name, or `{"document": ..., "grade": ...}`. `"doc"` and `"spans": [{"start", "end"}]` judge parts of
    a document. If the folder `qrels` is beside the file, the judgments are read from it.

    Args:
        place: Folder or file; `roost://examples/questions` for the installed ones.
        split: Name of a file in `qrels`; empty for `test`, or the only one.

    Raises:
        UsageError: There are no questions, or they cannot be read; the message names file and line.
    """
    path = Path(resolve_packaged(str(place))).expanduser()
    file = path / "queries.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"no questions in {path}: give a .jsonl file, or a folder with queries.jsonl and qrels/*.tsv")
    lines = list(_lines(file))
    asked = pl.DataFrame([(key, text) for key, text, _ in lines], schema=QUESTION, orient="row")
    if asked.is_empty():
        raise UsageError(f"{file}: the file contains no questions")
    if duplicates := asked.filter(pl.col("question").is_duplicated())["question"].to_list():
        raise UsageError(f"{file}: two questions have the id {duplicates[0]!r}")
    judgments = pl.DataFrame([row for _, _, rows in lines for row in rows], schema=JUDGMENT, orient="row")
    folder = file.parent / "qrels"
    if folder.is_dir() and judgments.is_empty():
        judgments = _read_qrels(_choose_split(folder, split))
        asked = asked.join(judgments, on="question", how="semi", maintain_order="left")
        if asked.is_empty():
            raise UsageError(f"{folder}: no judgment is for a question in {file}")
    elif split:
        raise UsageError(f"{file}: no folder qrels is beside the file, so split {split!r} cannot be chosen")
    return Questions(str(path), asked, judgments)


async def sample_questions(store: Store, version: Version, count: int, ledger: pl.DataFrame | None = None) -> Questions:
    """Sample sentences of the index as questions: each must find the document that it is from.

    One sentence of each document; where that gives fewer than `MIN_SAMPLED`, several of each. The choice depends only
    on the ids of the documents, so two evaluations of an index ask nearly the same questions.

    Args:
        store: Where the version is.
        version: The version to sample from.
        count: Number of questions, at most.
        ledger: Frame of `ledger.ROW` if the version's ledger was read already; else it is read.

    Raises:
        UsageError: The index is empty.
    """
    rows = await read_ledger(store, version.ledger) if ledger is None else ledger
    chosen = rows.filter(pl.col("chunk_count") > 0).sort("doc_id").head(count)
    documents, wanted = chosen.to_dicts(), min(count, MIN_SAMPLED)
    per_document = 1 if len(documents) >= wanted else wanted
    ids = [key for row in documents for key in dict.fromkeys(_chunk_id(row, turn) for turn in range(per_document))]
    found = await store.fetch(version.name, "id", ids, ["id", "doc_id", "text", "chunk_hash"])
    if not found:
        raise UsageError(f"index {version.index!r} is empty, so no questions can be sampled: ingest documents first")
    chunks = {row["id"]: row for row in found}
    drawn = sorted(_draw_sentences(documents, {key: row["text"] for key, row in chunks.items()}, wanted, per_document))
    hashes = {key: chunks[chunk]["chunk_hash"] for key, chunk, _ in drawn}
    twins = await _same_text(store, version, set(hashes.values()))
    asked = [(key, text) for key, _, text in drawn]
    judgments = [(key, doc_id, 1, None, None) for key, _, _ in drawn for doc_id in sorted(twins[hashes[key]])]
    return Questions(
        f"{len(asked)} sentences sampled from the index",
        pl.DataFrame(asked, schema=QUESTION, orient="row"),
        pl.DataFrame(judgments, schema=JUDGMENT, orient="row"),
        sampled=True,
    )


def resolve(judgments: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Find the document that each judgment names.

    A name is tried as `doc_id`, `source/path`, path, and id of a table's row, in this order. A name that matches two
    documents in the same way is not resolved.

    Args:
        judgments: Frame of `JUDGMENT`.
        ledger: The ledger of the index, at least `doc_id`, `source` and `uri`.

    Returns:
        Frame of `RESOLVED`, in the order of `judgments`.
    """
    readings = [
        pl.col("doc_id"),
        pl.col("source") + "/" + pl.col("uri"),
        pl.col("uri"),
        pl.col("uri").str.extract(r"#(.*)$"),
    ]
    names = pl.concat(
        ledger.select(name=reading, match="doc_id", order=pl.lit(order)) for order, reading in enumerate(readings)
    ).drop_nulls("name")
    best = names.filter(pl.col("order") == pl.col("order").min().over("name"))
    matches = best.group_by("name").agg(pl.col("match").first(), match_count=pl.col("match").n_unique())
    plain = judgments.with_columns(name=pl.col("document").str.strip_prefix("./"))
    joined = plain.join(matches, on="name", how="left", maintain_order="left")
    ambiguous = pl.format("names {} documents; write source/path", pl.col("match_count"))
    is_unknown = pl.col("match_count").is_null()
    reason = pl.when(is_unknown).then(pl.lit("not in the index")).when(pl.col("match_count") > 1).then(ambiguous)
    why = reason.otherwise(pl.lit(""))
    doc_id = pl.when(pl.col("match_count") == 1).then(pl.col("match")).otherwise(pl.lit(""))
    return joined.with_columns(doc_id=doc_id, why=why).select(list(RESOLVED)).cast(RESOLVED)


async def _same_text(store: Store, version: Version, hashes: set[str]) -> dict[str, set[str]]:
    """Map chunk hashes to the documents with these chunks: a sentence of several documents may find any of them."""
    documents: dict[str, set[str]] = {key: set() for key in hashes}
    async for page in store.read_pages(version.name, ["chunk_hash", "doc_id"], one_of("chunk_hash", sorted(hashes))):
        for row in page:
            documents[row["chunk_hash"]].add(row["doc_id"])
    return documents


def _chunk_id(row: Mapping[str, Any], turn: int) -> str:
    """Choose the chunk of a document from which its sentence of a turn is drawn: a ledger row -> primary key."""
    return f"{row['doc_id']}-{(int(row['doc_id'][:8], 16) + turn) % row['chunk_count']:06d}"


def _draw_sentences(
    documents: Sequence[Mapping[str, Any]], texts: Mapping[str, str], wanted: int, turns: int
) -> Iterator[tuple[str, str, str]]:
    """Draw a sentence of each document in turn, until there are enough: each of another chunk, then other sentences.

    Args:
        documents: Ledger rows.
        texts: Primary key of a chunk -> its text.
        wanted: Sentences after which a further turn ends.
        turns: Most sentences of one document.

    Yields:
        (id of the question, primary key of the chunk, sentence)
    """
    seen: set[str] = set()
    for turn, row in ((turn, row) for turn in range(turns) for row in documents):
        if turn and len(seen) >= wanted:
            return
        chunk, lap = _chunk_id(row, turn), turn // row["chunk_count"]
        sentences = _sentences(texts.get(chunk, ""))
        if lap >= len(sentences):
            continue
        text = sentences[(int(row["doc_id"][8:16], 16) + lap) % len(sentences)]
        if not turn or text not in seen:
            seen.add(text)
            yield f"{chunk}-{lap}" if lap else chunk, chunk, text


def _sentences(text: str) -> list[str]:
    """Give the sentences that have the length of a question; if there is none, the first words."""
    parts = [" ".join(part.split()) for part in _SENTENCE.split(text)]
    fitting = [part for part in parts if len(part.split()) in _WORD_COUNTS]
    first_words = " ".join(text.split()[: _WORD_COUNTS.stop - 1])
    return fitting or [first_words] * bool(first_words)


def _lines(file: Path) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
    """Yield each line's id, question and judgments."""
    try:
        for number, row in enumerate(READERS[".jsonl"](file), start=1):
            if error := row_error(row):
                raise UsageError(f"{file}: {error.detail}")
            text = str(row.get("query") or row.get("text") or "").strip()
            if not text:
                raise UsageError(f"{file}, row {number}: no question: write it under `query` or `text`")
            key = str(row.get("_id") or row.get("id") or number)
            try:
                yield key, text, list(_judged(key, row))
            except (TypeError, KeyError, ValueError) as error:
                raise UsageError(f"{file}, row {number}: `relevant` or `spans` cannot be read: {error!r}") from None
    except DocumentError as error:
        raise UsageError(f"{file}: {error.detail}") from None


def _judged(key: str, row: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    relevant = row.get("relevant") or []
    for judged in [relevant] if isinstance(relevant, str) else relevant:
        if isinstance(judged, dict):
            yield key, str(judged["document"]), int(judged.get("grade", 1)), None, None
        else:
            yield key, str(judged), 1, None, None
    for span in row.get("spans") or []:
        start, end = int(span["start"]), int(span["end"])
        if not 0 <= start < end:
            raise ValueError(f"span {start} to {end}")
        yield key, str(span.get("doc") or row["doc"]), int(span.get("grade", 1)), start, end


def _choose_split(folder: Path, split: str) -> Path:
    files = {file.stem: file for file in sorted(folder.glob("*.tsv"))}
    if not files:
        raise UsageError(f"{folder}: the folder contains no .tsv files")
    wanted = split or (DEFAULT_SPLIT if DEFAULT_SPLIT in files or len(files) > 1 else next(iter(files)))
    if wanted not in files:
        raise UsageError(f"{folder}: {unknown_value('split', wanted, files)}; choose one with --split")
    return files[wanted]


def _read_qrels(file: Path) -> pl.DataFrame:
    """Read the columns `question, document, grade`, or the four columns of TREC; a header line is skipped."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(_grades(file, csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)))
    judgments = pl.DataFrame(rows, schema=JUDGMENT, orient="row")
    return judgments.unique(["question", "document"], keep="last", maintain_order=True)


def _grades(file: Path, rows: Iterable[list[str]]) -> Iterator[tuple[Any, ...]]:
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        try:
            grade = int(row[-1])
        except ValueError:
            if number == 1:
                continue
            raise UsageError(f"{file}, line {number}: grade {row[-1]!r} is not a whole number") from None
        if len(row) not in (3, 4):
            raise UsageError(f"{file}, line {number}: {len(row)} columns separated by tabs instead of 3 or 4")
        yield row[0], row[-2], grade, None, None
