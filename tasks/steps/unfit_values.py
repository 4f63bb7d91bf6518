"""Values in documents' own metadata that were left out because they are not of the kind of their field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl


@dataclass(frozen=True)
class UnfitValue:
    """Values of one field that were left out.

    field: Name of the field.
    documents: Number of documents with such a value.
    uri: One of them.
    value: Its value, or the beginning of it.
    """

    field: str
    documents: int
    uri: str
    value: str


def find_unfit_values(documents: pl.DataFrame) -> Iterator[UnfitValue]:
    """Find the values that were left out of loaded documents, one by one.

    Args:
        documents: Frame of `LOADED`.
    """
    for uri, text in documents.filter(pl.col("unfit") != "").select("uri", "unfit").iter_rows():
        yield from (UnfitValue(name, 1, uri, value) for name, value in json.loads(text).items())


def add_unfit_values(known: dict[str, UnfitValue], found: Iterable[UnfitValue]) -> None:
    """Add values to those that are known, by field; of each field the first example stays."""
    for one in found:
        before = known.get(one.field)
        known[one.field] = replace(before, documents=before.documents + one.documents) if before else one
