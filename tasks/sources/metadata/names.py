"""Names of fields that a person gives: which are allowed, and how they are written with their kind, `year:number`."""

from __future__ import annotations

import re
from typing import NamedTuple

from roost.tasks.errors import UsageError
from roost.tasks.sources.metadata.kinds import Kind, as_kind

#: Field names that a document's own metadata, and fields that are given, may not have: in lower case.
RESERVED_FIELDS = frozenset(
    {
        *("id", "vector", "sparse", "text", "doc_id", "source", "uri", "ordinal", "chunk_hash"),
        *("page", "heading", "start", "end", "title", "embedded_context"),
        *("document_id", "ref_doc_id", "pk", "embedding", "distance", "score"),
    }
)
#: Words of Roost's filters, and of Milvus' expressions.
_WORDS = re.compile(
    r"and|or|not|in|like|true|false|exists|is|null|match|json_\w+|array_\w+|text_match|phrase_match|random_sample|st_\w+",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class FieldName(NamedTuple):
    """The name of a field, and the kind that was written with it; None where none was."""

    name: str
    kind: Kind | None


def parse_name(text: str) -> FieldName:
    """Read `NAME` or `NAME:KIND`.

    Raises:
        UsageError: The name is not allowed, or the kind is unknown.
    """
    name, colon, kind = (part.strip() for part in text.strip().partition(":"))
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a field: use at most 64 letters, digits and _, a letter first"
        )
    if name.lower() in RESERVED_FIELDS or _WORDS.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a field: Roost uses it itself; take another one")
    return FieldName(name, as_kind(kind) if colon else None)
