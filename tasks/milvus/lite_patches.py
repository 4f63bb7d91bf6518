"""Patches of Milvus Lite 3.2.2 for defects after its process was killed, and for flushes that end too early.

The first kind was found by killing it (tests/integration/test_crash.py). The patches are applied before Lite opens its
first file. They use private parts of Lite and can go when Lite has repaired the defects.
"""

from __future__ import annotations

import shutil
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def apply_patches() -> None:
    """Patch Lite, once a process: it recovers from a kill, and a flush ends when its rows are indexed."""
    from milvus_lite import db
    from milvus_lite.engine import collection
    from milvus_lite.storage.segment import Segment

    collection.Collection.flush = _waiting_for_index(collection.Collection.flush)
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
