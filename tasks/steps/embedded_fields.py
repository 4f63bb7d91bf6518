"""The fields of metadata that are embedded with chunks: as what text, and by which digests a change of them shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from roost.tasks.errors import ConfigurationError
from roost.tasks.ids import digest
from roost.tasks.settings import Chunking
from roost.tasks.sources.metadata.names import RESERVED_FIELDS
from roost.tasks.versions.framework_fields import field_name

_TITLE = "title"


def check_fields(chunking: Chunking) -> None:
    """Refuse fields that no document can have.

    Raises:
        ConfigurationError: A name is one that Roost uses itself, or no name of a stored field.
    """
    for name in chunking.field_names:
        if name != _TITLE and field_name(name) != name:
            uses = (
                "Roost uses it itself" if name.lower() in RESERVED_FIELDS else f"it is stored as {field_name(name)!r}"
            )
            raise ConfigurationError(
                f"ROOST_CHUNKING__FIELDS={chunking.fields}: {name!r} is no field of metadata: {uses}"
            )


def field_texts(documents: pl.DataFrame, chunking: Chunking) -> pl.Series:
    """Write the fields of documents that are embedded, as in `team: ops; year: 2026`.

    A field that a rule gives takes the place of the document's own; one that a document does not have is left out.

    Args:
        documents: Frame of `LOADED`.
        chunking: Its fields; with headings as context, the title is embedded with these.

    Returns:
        A text for each document; empty without fields.
    """
    names = [name for name in chunking.field_names if not (name == _TITLE and chunking.context)]
    if not names:
        return pl.Series([""] * documents.height, dtype=pl.String)
    rows = documents.select("title", "metadata", "fields").iter_rows()
    return pl.Series([_as_text(names, *row) for row in rows], dtype=pl.String)


def fields_digest(fields: str, embedded: Sequence[str]) -> str:
    """Give the digest of the fields that rules give to a document, as the ledger keeps it.

    Args:
        fields: The fields, a JSON object; empty for none.
        embedded: Names of the fields that are embedded.

    Returns:
        32 hex digits; of fields that are embedded, `:` and 32 more for these alone; empty without fields.
    """
    if not fields:
        return ""
    given = json.loads(fields) if embedded else {}
    chosen = {name: given[name] for name in embedded if name in given}
    own = f":{digest(json.dumps(chosen, sort_keys=True).encode())}" if chosen else ""
    return digest(fields.encode()) + own


def digest_of_all(column: str) -> pl.Expr:
    """Take of the digests in a column those of all fields."""
    return pl.col(column).str.split(":").list.first()


def digest_of_embedded(column: str) -> pl.Expr:
    """Take of the digests in a column those of the fields that are embedded; empty for none."""
    return pl.col(column).str.split(":").list.get(1, null_on_oob=True).fill_null("")


def with_embedded_of(of_all: str, known: str) -> str:
    """Join the digest of all fields and that of the embedded ones, which the ledger has in `known`."""
    _, colon, embedded = known.partition(":")
    return of_all.partition(":")[0] + colon + embedded


def _as_text(names: Sequence[str], title: str, metadata: str, fields: str) -> str:
    own = {field_name(name): value for name, value in json.loads(metadata).items()}
    values: Mapping[str, Any] = {**own, **json.loads(fields or "{}"), _TITLE: title}
    written = ((name, _value_text(values.get(name))) for name in names)
    return "; ".join(f"{name}: {text}" for name, text in written if text)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value))
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
