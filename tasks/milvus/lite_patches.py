"""Patches of Milvus Lite 3.2.2: for defects after a kill, flushes that end too early, and reads that take all rows.

The first kind was found by killing it (tests/integration/test_crash.py). The patches are applied before Lite opens its
first file. They use private parts of Lite and can go when Lite has repaired the defects.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import numpy as np

from roost.tasks.milvus.lite_search import with_current_rows, with_kept_masks


@lru_cache(maxsize=1)
def apply_patches() -> None:
    """Patch Lite, once a process: it recovers from a kill, flushes wait for the index, queries read what they need."""
    from milvus_lite import db
    from milvus_lite.engine import collection
    from milvus_lite.storage.segment import Segment

    collection.Collection.flush = _waiting_for_index(collection.Collection.flush)
    collection.Collection._read_snapshot = with_current_rows(collection.Collection._read_snapshot)
    collection.assemble_candidates = _candidates
    collection.execute_search_with_index = with_kept_masks(collection.execute_search_with_index)
    collection.execute_recovery = _without_flushed_logs(collection.execute_recovery)
    db.MilvusLite.create_collection = _replacing_remains(db.MilvusLite.create_collection)
    Segment.build_or_load_index = _rebuilding_damaged(Segment.build_or_load_index, scalar=False)
    Segment.build_or_load_scalar_index = _rebuilding_damaged(Segment.build_or_load_scalar_index, scalar=True)


def _waiting_for_index(flush: Any) -> Any:
    """A flush returned before its rows were indexed: for seconds, searches took six times as long."""

    @wraps(flush)
    def flushed(self: Any) -> None:
        flush(self)
        self._wait_for_bg()

    return flushed


def _without_flushed_logs(recover: Any) -> Any:
    """A flush commits a file, then deletes its log. Killed in between, Lite read both: each row was there twice."""
    from milvus_lite.storage.wal import _cleanup_old_wals

    @wraps(recover)
    def recovered(data_dir: str, schema: Any, manifest: Any) -> Any:
        _cleanup_old_wals(str(Path(data_dir, "wal")), (manifest.active_wal_number or 0) - 1)
        return recover(data_dir, schema, manifest)

    return recovered


def _replacing_remains(create: Any) -> Any:
    """Killed while it created or dropped a collection, Lite left a folder without a schema and refused its name."""

    @wraps(create)
    def created(self: Any, name: str, *arguments: Any, database_name: str = "default", **options: Any) -> Any:
        if not self.has_collection(name, database_name=database_name):
            shutil.rmtree(self._collection_dir(name, database_name), ignore_errors=True)
        return create(self, name, *arguments, database_name=database_name, **options)

    return created


def _rebuilding_damaged(build: Any, *, scalar: bool) -> Any:
    """Killed while it wrote an index file, Lite could not load the incomplete file; it is rebuilt from the rows."""

    @wraps(build)
    def built(self: Any, spec: Any, index_dir: str, *arguments: Any) -> None:
        try:
            build(self, spec, index_dir, *arguments)
        except Exception:  # noqa: BLE001  each kind of index raises its own; any other error is raised again below
            file = self.index_file_path(index_dir, spec.index_type, spec.field_name, scalar=scalar)
            Path(file).unlink(missing_ok=True)
            build(self, spec, index_dir, *arguments)

    return built


def _candidates(
    segments: Iterable[Any],
    memtable: Any,
    vector_field: str | None,
    partition_names: Sequence[str] | None = None,
    filter_compiled: Any = None,
    indexed_filter_plan: Any = None,
) -> tuple[list[Any], np.ndarray, np.ndarray, list[tuple[Any, Any]], np.ndarray | None]:
    """Collect what a query by filter looks through: the rows that match, and all other rows with one of their keys.

    Lite collected all rows of the collection, with copies of all vectors, which a query does not use, and looked at
    each: 0.3 s of a core in a collection of 100,000 rows, 2 s before they were flushed. The other rows of a key tell
    whether a matching one is the latest.

    Returns:
        Keys; uint64 (n,) sequence numbers; float32 (n, 0) in place of vectors; where each row is; bool (n,) of the
        filter, None without one.
    """
    from milvus_lite.search.filter import evaluate_mask
    from milvus_lite.search.indexed_filter import evaluate_segment_filter

    parts, is_filtered = [], filter_compiled is not None
    for segment in segments:
        if segment.num_rows and (not partition_names or segment.partition in partition_names):
            found = evaluate_segment_filter(segment, filter_compiled, indexed_filter_plan) if is_filtered else None
            parts.append((segment, segment.pks, segment.seqs, range(segment.num_rows), found))
    keys, seqs, _, places, table = memtable.to_search_snapshot(None, partition_names, is_filtered)
    if keys:
        found = evaluate_mask(filter_compiled, table) if is_filtered else None
        parts.append((memtable, keys, seqs, places, found))
    if is_filtered:
        parts = _with_keys_that_match(parts)
    all_keys = [key for _, keys, *_ in parts for key in keys]
    all_seqs = np.concatenate([np.zeros(0, np.uint64), *(seqs for _, _, seqs, *_ in parts)])
    sources = [(origin, place) for origin, _, _, places, _ in parts for place in places]
    mask = np.concatenate([np.zeros(0, bool), *(found for *_, found in parts)]) if is_filtered else None
    return all_keys, all_seqs, np.zeros((len(all_keys), 0), np.float32), sources, mask


def _with_keys_that_match(parts: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Keep the rows whose key belongs to a row, in any part, that the filter has found."""
    wanted = {keys[row] for _, keys, _, _, found in parts for row in np.flatnonzero(found)}
    kept = []
    for origin, keys, seqs, places, found in parts:
        rows = [row for row, key in enumerate(keys) if key in wanted]
        chosen = ([keys[row] for row in rows], seqs[rows], [places[row] for row in rows], np.asarray(found, bool)[rows])
        kept.append((origin, *chosen))
    return kept
