"""Retrieve: find passages by a query, embedded by the very model that embedded them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.embedder import Embedder
from tasks.errors import ModelError
from tasks.milvus import Store
from tasks.models import CARRIED, Model, find_model
from tasks.settings import Embedding
from tasks.versions import Version

_FIELDS = ["doc_id", "uri", "source", "page", "heading", "text"]


@dataclass(frozen=True)
class Hit:
    """A passage found. `score` is the metric's own; for COSINE and IP higher is nearer."""

    rank: int
    score: float
    uri: str
    source: str
    page: int
    heading: str
    text: str
    doc_id: str
    id: str

    def as_dict(self) -> dict[str, Any]:
        """The documented keys; a page that the format does not have is null."""
        return {**asdict(self), "page": self.page or None}


def model_of(version: Version, settings: Embedding) -> Model:
    """Find the model that built a version, whatever the settings name now.

    Raises:
        ModelError: What is found under its name is another revision.
    """
    recipe = version.recipe
    on_hub = not Path(recipe.model).expanduser().is_dir() and recipe.model not in CARRIED
    wanted = {
        "model": recipe.model,
        "revision": recipe.revision if on_hub else "",
        "query_instruction": recipe.query_instruction,
        "text_instruction": recipe.text_instruction,
    }
    model = find_model(settings.model_copy(update=wanted))
    if model.revision != version.recipe.revision:
        raise ModelError(
            f"index {version.index!r} was built with {version.recipe.model} revision {version.recipe.revision}, "
            f"here is {model.revision}: queries must be embedded by the model that embedded the documents"
        )
    return model


async def search(store: Store, version: Version, embedder: Embedder, queries: list[str], *, k: int) -> list[list[Hit]]:
    """Find the k nearest passages to each query, best first."""
    vectors = await embedder.queries(queries)
    found = await store.search(version.name, vectors.tolist(), _FIELDS, limit=k)
    return [[_hit(rank, row) for rank, row in enumerate(rows, start=1)] for rows in found]


def _hit(rank: int, row: dict[str, Any]) -> Hit:
    return Hit(rank=rank, score=float(row["distance"]), id=str(row["id"]), **row["entity"])
