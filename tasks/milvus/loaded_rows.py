"""Whether a server has loaded what it stores: just after a crash Milvus 2.3.5 answers reads without stored rows."""

from __future__ import annotations

import asyncio
import logging

from pymilvus.grpc_gen.common_pb2 import Flushed

from roost.tasks.errors import StoreError, TransientError
from roost.tasks.milvus.connection import Connection

_log = logging.getLogger(__name__)


class LoadedRows(Connection):
    """A check of answers without rows."""

    async def refuse_unloaded(self, collection: str) -> None:
        """Raise if an answer without rows cannot be trusted, because the server has not loaded the collection yet.

        A server that does not say what it has loaded is trusted. Rows that were flushed a moment ago are visible and do
        not count as loaded: one more read tells.

        Args:
            collection: A loaded collection, or an alias.

        Raises:
            TransientError: Rows are stored, none is loaded, and none is visible.
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
        if not stored_rows or any(segment.num_rows for segment in loaded):
            return
        visible = await self._read_call(
            self._sync.query, collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        if not visible[0]["count(*)"]:
            raise TransientError(
                f"Milvus at {self.settings.uri} has loaded none of the {stored_rows:,} rows of {collection!r} yet: it "
                "was started a moment ago"
            )
