"""The search by vectors of Milvus Lite 3.2.2, which finds out once, not for every search, which rows are current.

A row is current if it is the latest of its key and no later deletion has its key. Lite looked at each row of the
collection in Python to find that out, for every search: 7 of the 10 ms of a search among 10,000 rows. Here it is kept
until the files or the deletions of the collection change. Everything else is as in Lite's own search, which still
answers while rows wait to be flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from itertools import chain
from typing import Any

import numpy as np

#: In place of the latest sequence number of a key that is deleted: no row has it.
_DELETED = int(np.iinfo(np.uint64).max)
#: Arguments of a search that concern each file.
_OF_SEGMENT = ("vector_field", "metric_type", "compiled_filter", "indexed_filter_plan", "search_params")


class CurrentRows:
    """Which rows of a collection's files are current, as the last search found it."""

    def __init__(self) -> None:
        self._known: tuple[tuple[Any, ...], Mapping[Any, int], list[np.ndarray]] = ((), {}, [])

    def masks(self, segments: Sequence[Any], deletions: Mapping[Any, int]) -> list[np.ndarray]:
        """Give a mask of the current rows of each file.

        Args:
            segments: Lite's files in memory; their rows never change.
            deletions: Sequence number of the last deletion, by key.

        Returns:
            For each file (n,) bool.
        """
        *known, masks = self._known  # searches run in several threads
        if known != [tuple(segments), deletions]:
            masks = find_current(segments, deletions)
            self._known = (tuple(segments), deletions, masks)
        return masks


def find_current(segments: Sequence[Any], deletions: Mapping[Any, int]) -> list[np.ndarray]:
    """Find the current rows of files; arguments and result are those of `CurrentRows.masks`."""
    if not segments:
        return []
    keys = list(chain.from_iterable(one.pks for one in segments))
    numbers = np.concatenate([one.seqs for one in segments])
    order = np.argsort(numbers, kind="stable")
    latest = dict(zip(map(keys.__getitem__, order.tolist()), numbers[order].tolist(), strict=True))  # the last wins
    for key in latest.keys() & deletions.keys():
        if deletions[key] > latest[key]:
            latest[key] = _DELETED
    current = np.fromiter(map(latest.__getitem__, keys), np.uint64, len(keys)) == numbers
    return np.split(current, np.cumsum([one.num_rows for one in segments])[:-1])


def with_current_rows(read_snapshot: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    """Wrap `Collection._read_snapshot`: hand the collection's `CurrentRows` on with its deletions."""

    @wraps(read_snapshot)
    def snapshot(self: Any) -> tuple[Any, Any]:
        segments, deleted = read_snapshot(self)
        deleted.current_rows = self.__dict__.setdefault("current_rows", CurrentRows())
        return segments, deleted

    return snapshot


def with_kept_masks(search: Callable[..., list[list[dict[str, Any]]]]) -> Callable[..., list[list[dict[str, Any]]]]:
    """Wrap `execute_search_with_index`: search by kept masks where all rows are flushed."""

    @wraps(search)
    def searched(**asked: Any) -> list[list[dict[str, Any]]]:
        if asked["memtable"].size() or asked["partition_names"]:
            return search(**asked)
        return _search(
            asked["query_vectors"],
            [one for one in asked["segments"] if one.num_rows],
            asked["delta_index"],
            asked["top_k"],
            partial(_find_in_segment, **{name: asked[name] for name in _OF_SEGMENT}),
            asked["project_record_fn"],
        )

    return searched


def _search(
    vectors: np.ndarray,
    segments: Sequence[Any],
    deleted: Any,
    limit: int,
    find: Callable[[np.ndarray, int, Any, np.ndarray], tuple[np.ndarray, np.ndarray]],
    project: Callable[[dict[str, Any]], dict[str, Any]],
) -> list[list[dict[str, Any]]]:
    """Find the nearest rows to each vector among those of all files, best first."""
    found: list[list[tuple[float, int, int]]] = [[] for _ in vectors]
    masks = deleted.current_rows.masks(segments, deleted.snapshot)
    for number, (segment, current) in enumerate(zip(segments, masks, strict=True)):
        for best, rows, distances in zip(found, *find(vectors, limit, segment, current), strict=True):
            count = int(np.argmax(rows < 0)) if (rows < 0).any() else len(rows)  # -1 fills what is left
            best += zip(distances[:count].tolist(), [number] * count, rows[:count].tolist(), strict=True)

    def record(distance: float, number: int, row: int) -> dict[str, Any]:
        segment = segments[number]
        return {"id": segment.pks[row], "distance": distance, "entity": project(segment.row_to_dict(row))}

    return [[record(*one) for one in sorted(best)[:limit]] for best in found]


def _find_in_segment(
    vectors: np.ndarray,
    limit: int,
    segment: Any,
    current: np.ndarray,
    *,
    vector_field: str,
    metric_type: str,
    compiled_filter: Any,
    indexed_filter_plan: Any,
    search_params: Mapping[str, Any] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest rows of one file: rows, -1 where there are no more, and distances, (n, limit) each."""
    from milvus_lite.index.brute_force import BruteForceIndex
    from milvus_lite.search.indexed_filter import evaluate_segment_filter

    values, has_vector = segment.vector_data(vector_field)
    mask = current if has_vector is None else current & has_vector
    if compiled_filter is not None:
        mask = mask & evaluate_segment_filter(segment, compiled_filter, indexed_filter_plan).astype(bool)
    index = segment.indexes.get(vector_field) or BruteForceIndex.build(values, metric_type)
    # Without a mask the index looks at fewer rows of its graph.
    rows, distances = index.search(vectors, limit, valid_mask=None if mask.all() else mask, params=search_params)
    return rows, distances
