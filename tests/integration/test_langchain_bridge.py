"""The private parts of langchain-milvus and pymilvus that the bridge uses are still there."""

from __future__ import annotations

import inspect

import pytest
from langchain_milvus import Milvus
from pymilvus import MilvusClient
from pymilvus.orm.connections import connections

from roost.tasks.errors import ConfigurationError
from roost.tasks.search import langchain_bridge


def test_the_bridge_was_written_for_the_installed_versions() -> None:
    langchain_bridge.check_bridged_versions()


def test_another_version_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(langchain_bridge, "installed_version", lambda _: "9.9")
    with pytest.raises(ConfigurationError, match=r"langchain-milvus 9\.9 is installed"):
        langchain_bridge.check_bridged_versions()


def test_the_private_parts_that_the_bridge_uses_exist() -> None:
    constructor = inspect.getsource(Milvus.__init__)
    assert "self.alias = self.client._using" in constructor  # what `BridgedMilvus.alias` intercepts
    assert "self._async_milvus_client" in constructor
    assert "data" in inspect.signature(Milvus._parse_document).parameters  # what the bridge overrides
    assert isinstance(connections._alias_handlers, dict)
    assert "self._handler" in inspect.getsource(MilvusClient.__init__)


def test_the_bridge_is_still_needed() -> None:
    """When this fails, langchain-milvus reads fields by its client: delete `BridgedMilvus.alias`."""
    assert "Collection(self.collection_name, using=self.alias)" in inspect.getsource(Milvus)
