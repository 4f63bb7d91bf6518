"""Mends of Milvus Lite 3.2.2, mostly for what it does not survive when its process is killed. Until Lite has them.

Those were found by killing it (tests/integration/test_crash.py). All are in place before Lite opens its first file.
"""

from __future__ import annotations

import shutil
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def mend() -> None:
    """Have Lite clear away what a killed process left behind, and end a flush when it has ended; once a process."""
    from milvus_lite import db
    from milvus_lite.engine import collection
    from milvus_lite.storage.segment import Segment

    collection.Collection.flush = _indexed(collection.Collection.flush)
    collection.execute_recovery = _without_flushed_logs(collection.execute_recovery)
    db.MilvusLite.create_collection = _over_remains(db.MilvusLite.create_collection)
    Segment.build_or_load_index = _rebuilt(Segment.build_or_load_index, scalar=False)
    Segment.build_or_load_scalar_index = _rebuilt(Segment.build_or_load_scalar_index, scalar=True)


def _indexed(flush: Any) -> Any:
    """A flush returned before its rows were indexed: for seconds, searches took six times as long."""

    @wraps(flush)
    def flushed(self: Any) -> None:
        flush(self)
        self._wait_for_bg()

    return flushed


def _without_flushed_logs(recover: Any) -> Any:
    """A flush commits a file, then deletes its log. Killed in between, Lite read both: every row was there twice."""
    from milvus_lite.storage.wal import _cleanup_old_wals

    @wraps(recover)
    def recovered(data_dir: str, schema: Any, manifest: Any) -> Any:
        _cleanup_old_wals(str(Path(data_dir, "wal")), (manifest.active_wal_number or 0) - 1)
        return recover(data_dir, schema, manifest)

    return recovered


def _over_remains(create: Any) -> Any:
    """A folder without a schema is no collection. Killed when it made or dropped one, Lite could make it no more."""

    @wraps(create)
    def created(self: Any, name: str, *arguments: Any, database_name: str = "default", **options: Any) -> Any:
        if not self.has_collection(name, database_name=database_name):
            shutil.rmtree(self._collection_dir(name, database_name), ignore_errors=True)
        return create(self, name, *arguments, database_name=database_name, **options)

    return created


def _rebuilt(build: Any, *, scalar: bool) -> Any:
    """An index file is made of rows that are elsewhere. Killed as it wrote one, Lite could not load the half of it."""

    @wraps(build)
    def built(self: Any, spec: Any, index_dir: str, *arguments: Any) -> None:
        try:
            build(self, spec, index_dir, *arguments)
        except Exception:  # noqa: BLE001  each kind of index raises its own; what is no half file raises again
            file = self.index_file_path(index_dir, spec.index_type, spec.field_name, scalar=scalar)
            Path(file).unlink(missing_ok=True)
            build(self, spec, index_dir, *arguments)

    return built
