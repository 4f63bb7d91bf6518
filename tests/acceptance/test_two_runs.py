"""Two `roost ingest` of one index, started together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conftest import HANDBOOK_DOCUMENTS, ROOT

HANDBOOK = ROOT / "examples" / "handbook"


@pytest.mark.long  # in one process: tests/integration/test_lease_wait.py
def test_of_two_that_start_together_one_works_and_the_other_waits_for_it_by_name(roost, milvus, index):
    words = ("ingest", HANDBOOK, "--index", index, "--json")
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(roost, *words, ROOST_MILVUS__URI=milvus) for _ in range(2)]
        ended = [run.result() for run in runs]
    assert [run.code for run in ended] == [0, 0], [run.err for run in ended]
    assert sorted(run.json["documents"]["added"] for run in ended) == [0, HANDBOOK_DOCUMENTS]
    assert sorted(run.json["documents"]["unchanged"] for run in ended) == [0, HANDBOOK_DOCUMENTS]
    assert "".join(run.err for run in ended).count(f"waiting for run 'ingest {index}'") == 1
    checked = roost("verify", "--index", index, "--json", ROOST_MILVUS__URI=milvus)
    assert checked.code == 0
    assert checked.json["documents"] == HANDBOOK_DOCUMENTS


@pytest.mark.long  # in one process: tests/integration/test_lease_wait.py
def test_of_two_that_are_not_to_wait_one_works_and_the_other_refuses_and_names_it(roost, standalone, index):
    words = ("ingest", HANDBOOK, "--index", index, "--json", "--on-conflict", "refuse")
    # Many small batches one after another: neither has ended before the other comes.
    settings = {
        "ROOST_MILVUS__URI": standalone,
        "ROOST_INGEST__BATCH_BYTES": "3000",
        "ROOST_INGEST__BATCHES_IN_FLIGHT": "1",
    }
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(roost, *words, **settings) for _ in range(2)]
        worked, refused = sorted((run.result() for run in runs), key=lambda run: run.code)
    assert (worked.code, refused.code) == (0, 1), (worked.err, refused.err)
    assert worked.json["documents"]["added"] == HANDBOOK_DOCUMENTS
    assert f"is being written by run 'ingest {index}'" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
