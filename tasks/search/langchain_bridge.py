"""langchain-milvus' store with its connection registered; the only module with private parts of langchain-milvus.

The bridge to pymilvus is needed for langchain-milvus 0.3 with pymilvus from 2.6.10 on. pymilvus keeps the connection of
a client elsewhere than in `pymilvus.orm.connections`, where langchain-milvus looks for it by the client's name, so its
first read fails with "should create connection first". To be deleted when langchain-milvus reads the fields of a
collection by its client; tests/integration/test_langchain_bridge.py fails when one of the private parts changes.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version as installed_version
from typing import Any

from langchain_core.documents import Document
from langchain_milvus import Milvus
from pymilvus.decorators import PyMilvusDeprecationWarning
from pymilvus.orm.connections import connections

from roost.tasks.errors import ConfigurationError

#: Versions whose private parts the bridge uses: distribution to the beginning of its version.
BRIDGED_VERSIONS = {"langchain-milvus": "0.3.", "pymilvus": "2.6."}

# Raised by the library's own use of pymilvus; users cannot change it.
warnings.filterwarnings("ignore", category=PyMilvusDeprecationWarning, module="langchain_milvus")


class BridgedMilvus(Milvus):
    """LangChain's own store, with its connection registered where the library looks for it."""

    @property
    def alias(self) -> str:
        """The name under which the library looks for its connection."""
        return self._alias

    @alias.setter
    def alias(self, name: str) -> None:
        self._alias = name
        connections._alias_handlers[name] = self.client._handler

    def to_document(self, row: dict[str, Any]) -> Document:
        """Make a document of a row that was found."""
        return super()._parse_document(row)

    def _parse_document(self, data: dict[str, Any]) -> Document:
        return self.to_document(data)

    def close(self) -> None:
        """Unregister the connection, and close it unless another client uses it."""
        connections._alias_handlers.pop(self.alias, None)
        self.client.close()

    async def aclose(self) -> None:
        """Close both connections, in the loop that used the async one."""
        if self._async_milvus_client is not None:
            await self._async_milvus_client.close()
        self.close()


def check_bridged_versions() -> None:
    """Refuse versions of the libraries for which the bridge was not written.

    Raises:
        ConfigurationError: One of them is installed; the message names it.
    """
    for distribution, prefix in BRIDGED_VERSIONS.items():
        if not (installed := installed_version(distribution)).startswith(prefix):
            raise ConfigurationError(
                f"{distribution} {installed} is installed, but Roost's LangChain store needs {prefix}x: "
                f"pip install '{distribution}=={prefix}*'"
            )
