"""Filters checked against an index: kinds of its fields, names of metadata; and the filter of all reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pymilvus import DataType

from roost.tasks.errors import UsageError, did_you_mean
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.search.filters import parse_where
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.versions.schema import SPARSE
from roost.tasks.versions.version import Version

#: Chunks that are read to name the metadata which an index has.
MAX_SAMPLED_ROWS = 1_000
_SETTING = "ROOST_SEARCH__REQUIRED_FILTER"


async def checked_where(store: Store, version: Version, text: str) -> str:
    """Parse a filter and check it against an index: its fields, and the names of the documents' own metadata.

    Returns:
        The filter as Milvus reads it; empty for none.

    Raises:
        UsageError: The filter is invalid for this index.
    """
    if not text.strip():
        return ""
    schema = await _schema_kinds(store, version)
    where = parse_where(text, {**version.field_facts.kinds, **schema})
    if missing := await _find_missing(store, version, where.names):
        raise UsageError(await _missing_line(store, version, missing[0], schema))
    return where.text


async def find_missing_fields(store: Store, version: Version, names: Sequence[str]) -> list[str]:
    """Find the names that are no field of any chunk.

    Returns:
        A line for each, with the fields that there are.
    """
    if not names:
        return []
    schema = await _schema_kinds(store, version)
    missing = await _find_missing(store, version, set(names) - set(schema))
    return [await _missing_line(store, version, name, schema) for name in missing]


async def _find_missing(store: Store, version: Version, names: Collection[str]) -> list[str]:
    """Find the names of metadata that no chunk has, sorted."""
    found = [await store.query(version.name, f"exists $meta[{quoted(name)}]", ["id"], limit=1) for name in names]
    return sorted(name for name, rows in zip(names, found, strict=True) if not rows)


async def _missing_line(store: Store, version: Version, name: str, schema: Mapping[str, Kind]) -> str:
    own = sorted({*version.field_facts.kinds, *await _metadata_names(store, version)} - set(schema))
    hint = did_you_mean(name, [*schema, *own])
    known = f"fields: {', '.join(sorted(schema))}; metadata: {', '.join(own) or 'none'}"
    advice = f"{hint} There are {known}" if hint else known
    return f"no chunk of index {version.index!r} has a field {name!r}; {advice}"


async def require_filter(store: Store, version: Version, required: str) -> None:
    """Have this store read only the chunks of a version that the required filter matches, whatever else is asked.

    Call it before anything is read for a user. Nothing removes the filter from an open store again.

    Args:
        store: An open Milvus that reads for users.
        version: The version to read.
        required: ROOST_SEARCH__REQUIRED_FILTER; blank for none.

    Raises:
        UsageError: The filter is invalid for this index; nothing can be read then.
    """
    if not required.strip() or store.required_filter(version.name):
        return
    try:
        store.require_filter(version.name, await checked_where(store, version, required))
    except UsageError as error:
        raise UsageError(f"{_SETTING} allows no search of index {version.index!r}: {error}") from None


async def filter_fields(store: Store, version: Version) -> dict[str, Kind]:
    """Give the fields of an index whose kind is known."""
    return {**version.field_facts.kinds, **await _schema_kinds(store, version)}


async def _schema_kinds(store: Store, version: Version) -> dict[str, Kind]:
    described = await store.describe_collection(version.name) or {}
    kinds: dict[DataType, Kind] = {DataType.VARCHAR: "text", DataType.INT64: "number"}
    return {field["name"]: kinds[field["type"]] for field in described["fields"] if field["type"] in kinds}


async def _metadata_names(store: Store, version: Version) -> set[str]:
    """Name the documents' own metadata, as found in the first chunks of many documents."""
    rows = await store.query(version.name, "ordinal == 0", ["*"], limit=MAX_SAMPLED_ROWS)
    return {name for row in rows for name in row if not name.startswith("_")} - {"vector", SPARSE}
