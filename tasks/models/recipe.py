"""The recipe: the choices that decide the vectors of a version, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from roost.tasks.models.model import Model
from roost.tasks.settings import Chunking

#: Increased when the same texts get other chunks or vectors; the format of stored rows has a number of its own.
SCHEMA_VERSION = 1
CHUNKER = "llama-index-markdown-sentence"
#: Chunker of recipes that do not cut documents.
UNCUT = "none"
#: The API of endpoints.
OPENAI_API = "openai"

#: Fields that the first recipes did not have.
_LATER_FIELDS = ("sparse", "context", "api", "fields")


@dataclass(frozen=True)
class Recipe:
    """The choices that decide the vectors. Runs of equal recipes make equal rows."""

    model: str
    revision: str
    dimension: int
    chunker: str
    chunk_size: int
    chunk_overlap: int
    query_instruction: str
    text_instruction: str
    schema_version: int = SCHEMA_VERSION
    sparse: str = ""  # `bm25`: texts are indexed by BM25 beside the vectors, and both are searched
    context: str = ""  # `headings`: title and headings are embedded before each text
    api: str = ""  # `openai`: an endpoint with OpenAI's API embeds; `revision` is then a digest of the tokenizer
    fields: str = ""  # `title,team`: names of metadata fields that are embedded with each text

    @property
    def has_context(self) -> bool:
        """Whether something is embedded before each text."""
        return bool(self.context or self.fields)

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that name the recipe. What older recipes do not have is left out where it is empty."""
        facts = {name: value for name, value in asdict(self).items() if name not in _LATER_FIELDS or value}
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def make_recipe(model: Model, chunking: Chunking, sparse: str = "") -> Recipe:
    """Make the recipe of a model and settings."""
    cut = chunking.method != UNCUT
    return Recipe(
        model=model.name,
        revision=model.revision,
        dimension=model.dimension,
        chunker=CHUNKER if cut else UNCUT,
        chunk_size=chunking.size if cut else 0,
        chunk_overlap=chunking.overlap if cut else 0,
        query_instruction=model.query_instruction,
        text_instruction=model.text_instruction,
        sparse=sparse,
        context=chunking.context if cut else "",
        api=OPENAI_API if model.endpoint else "",
        fields=",".join(chunking.field_names),
    )


def changes(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Give the fields that differ, with both values."""
    pairs = ((f.name, (getattr(old, f.name), getattr(new, f.name))) for f in fields(Recipe))
    return {name: pair for name, pair in pairs if pair[0] != pair[1]}


def differences(old: Recipe, new: Recipe) -> str:
    """Describe the fields that differ: `chunk_size 240 there, 200 here`."""
    return ", ".join(f"{name} {then!r} there, {now!r} here" for name, (then, now) in changes(old, new).items())
