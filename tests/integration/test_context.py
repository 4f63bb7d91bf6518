"""An index whose chunks are embedded with title and headings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGES = {
    "boats.md": "# Boats\n\nThey float.\n\n## Pumps\n\nIt is cleaned every month.\n\n## Sails\n\nIt is dried.\n",
    "cars.md": "# Cars\n\nThey roll.\n\n## Pumps\n\nIt is cleaned every month.\n",
}


def test_only_texts_with_a_new_context_are_embedded_and_stored_texts_stay(
    ingest: Any, stored: Any, lite: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__CONTEXT", "headings")
    source = Path(folder(**PAGES))
    _, first = ingest(source)
    rows, vectors, _ = stored()
    assert first.chunks.embedded == rows.height == 5
    assert "embedded_context" in rows.columns
    same = rows.filter(rows["text"].str.starts_with("## Pumps"))
    assert same["text"].n_unique() == 1
    assert same.height == 2  # the same text under other headings has another vector
    places = [rows["id"].to_list().index(key) for key in same["id"]]
    assert not np.array_equal(vectors[places[0]], vectors[places[1]])

    (source / "cars.md").write_text(PAGES["cars.md"] + "\n## Doors\n\nThey are oiled.\n")
    _, second = ingest(source)
    assert (second.documents.changed, second.chunks.embedded) == (1, 1)

    (source / "boats.md").rename(source / "ships.md")
    _, third = ingest(source)
    assert third.documents.renamed == 1
    assert third.chunks.embedded == 0
    again, _, _ = stored()
    assert set(again["text"]) >= set(rows["text"])
