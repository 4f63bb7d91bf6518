"""The names of the indexes, as a shell completes them, on each Milvus."""

from __future__ import annotations

import pytest

from roost.flows.operations.index_names import read_index_names


@pytest.mark.usually("lite")
def test_the_names_of_the_indexes_are_read_while_another_process_may_use_the_file(milvus, ingest, folder, index):
    ingest(folder(**{"a.md": "# A\n\nText."}))
    assert index in read_index_names()
