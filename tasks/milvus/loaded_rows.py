"""Whether a server has loaded what it stores: just after a crash Milvus 2.3.5 answers reads without stored rows."""

from __future__ import annotations

import asyncio
import logging

from pymilvus.grpc_gen.common_pb2 import Flushed

from roost.tasks.errors import StoreError, TransientError
from roost.tasks.milvus.connection import Connection

#: Share of the stored rows that must be loaded. After a flush or a compaction a server loads the new segments later.
MIN_LOADED = 0.5

_log = logging.getLogger(__name__)


class LoadedRows(Connection):
    """A check of answers that may lack rows."""

    async def refuse_unloaded(self, collection: str) -> None:
        """Raise if the answer of a read cannot be trusted, because the server is still loading the collection.

        Call it after the read: for the rows of a whole collection, and for an answer without rows. A server that does
        not say what it has loaded is trusted.

        Args:
            collection: A loaded collection, or an alias.

        Raises:
            TransientError: The server has loaded less than half of the stored rows.
        """
        if self.is_lite:
            return
        try:
            stored, loaded = await asyncio.gather(
                self._read_call(self._sync.list_persistent_segments, collection),
                self._read_call(self._sync.list_loaded_segments, collection),
            )
        except StoreError as error:  # a server that does not tell, or not this user
            _log.debug("whether %s is loaded is not known: %s", collection, error)
            return
        stored_rows = sum(segment.num_rows for segment in stored if segment.state == Flushed)
        loaded_rows = sum(segment.num_rows for segment in loaded)
        if loaded_rows < MIN_LOADED * stored_rows:
            raise TransientError(
                f"Milvus at {self.settings.uri} has loaded {loaded_rows:,} of {stored_rows:,} rows of {collection!r} "
                "so far; it was started a moment ago"
            )
