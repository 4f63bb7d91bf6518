"""What Prefect does at the start of a flow, made quicker."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import PrefectClient, SyncPrefectClient

from roost.flows.running import prefect_imports


@pytest.mark.parametrize("client", [PrefectClient, SyncPrefectClient])
def test_prefects_clients_share_one_tls_context(client: type) -> None:
    client("http://127.0.0.1:9/api")
    before = prefect_imports.shared_tls.create_default_context.cache_info()
    client("http://127.0.0.1:9/api")
    after = prefect_imports.shared_tls.create_default_context.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 0)
