"""Stand-ins for unit tests: a tokenizer and a model folder made on the spot, an engine, workers in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import string
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from roost.tasks.ids import doc_id
from roost.tasks.models.model import Model, find_model
from roost.tasks.records import PLANNED
from roost.tasks.settings import Embedding, Ingest
from roost.tasks.sources.opened_source import ListingChoices
from roost.tasks.steps.report import (
    ChunkCounts,
    DocumentCounts,
    IngestReport,
    RunSeconds,
    StoreCounts,
    TokenCounts,
)
from roost.tasks.workers import Workers

#: Words that the tokenizer has as one token; it spells all others.
WORDS = (
    "a about acknowledged are before begins body end ends every first guide heading here in install is it its just "
    "late line linux long make many more nothing number of on one page passage plain representing run same second "
    "section sentence ships short speaks text that the there this trains truth universally use welcome why word words"
)
DIMENSION, WINDOW = 8, 256


def make_tokenizer(file: Path) -> None:
    """Write a WordPiece tokenizer like BERT's: lower case, `[CLS]` and `[SEP]`, words spelled where unknown.

    It is saved with truncation and padding, as those of sentence-transformers are.
    """
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *WORDS.split()]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(file))


@cache
def tokenizer_json() -> bytes:
    """The made tokenizer, as a model folder holds it."""
    with TemporaryDirectory() as folder:
        make_tokenizer(file := Path(folder) / "tokenizer.json")
        return file.read_bytes()


def make_model_folder(folder: Path, **files: str | bytes | None) -> Path:
    """Make a model folder: the made tokenizer, weights that are none. A file given as None is left out."""
    config = json.dumps({"hidden_size": DIMENSION, "max_position_embeddings": 512})
    whole = {"model.safetensors": b"tiny weights", "config.json": config, "tokenizer.json": tokenizer_json()} | files
    for path, content in whole.items():
        if content is not None:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


_FOLDER = TemporaryDirectory(prefix="roost-test-model-")  # goes with this process


@cache
def made_model() -> Model:
    """A model with the made tokenizer and a window of 256 tokens, without weights."""
    folder = Path(_FOLDER.name) / "tiny"
    make_model_folder(folder, **{"sentence_bert_config.json": json.dumps({"max_seq_length": WINDOW})})
    return find_model(Embedding(model=str(folder)))


def ingest_report() -> IngestReport:
    """The report of a run that added three documents to 1,197."""
    return IngestReport(
        index="docs",
        version="docs__v1",
        fingerprint="092a27e3",
        documents=DocumentCounts(listed=1200, added=3, unchanged=1197),
        unlisted=(),
        chunks=ChunkCounts(embedded=10, written=10),
        tokens=TokenCounts(embedded=900),
        store=StoreCounts(1200, 5000),
        seconds=RunSeconds(2.5, 0.5, 0.0, 0.0, 1.0, 1.0),
        rejects=(),
    )


class HashEngine:
    """An engine whose vectors follow from the text alone: float32, unit length."""

    name = "hash"

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Make (n, 8) vectors."""
        seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) for text in texts]
        rows = [np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32) for seed in seeds]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32).reshape(-1, DIMENSION)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Make vectors as for documents."""
        return self.embed_chunks(texts, [])


def planned_row(uri: str, **changed: Any) -> dict[str, Any]:
    """A row of `PLANNED`: an added file of the source `docs` that no one can read."""
    row = {name: kind.to_python()() for name, kind in PLANNED.items()}
    place = {"doc_id": doc_id("docs", uri), "source": "docs", "uri": uri, "location": f"memory://unread/{uri}"}
    return row | place | {"size": 1, "row": -1, "action": "added"} | changed


class InProcessWorkers:
    """Has the interface of `roost.tasks.workers.Workers`, and works in this process, without limits."""

    size = 2

    def __init__(self, **_: int) -> None:
        pass

    def __enter__(self) -> InProcessWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Do nothing: there are no processes."""

    def stop(self) -> None:
        """Do nothing: there are no processes."""

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        """Call the function here, and let other tasks run in between."""
        await asyncio.sleep(0.001)
        return function(*arguments)


def listing_choices(**settings: Any) -> ListingChoices:
    """Choices for listings in this process, without limits of a worker."""
    return ListingChoices.of(Ingest(**settings), cast("Workers", InProcessWorkers()))
