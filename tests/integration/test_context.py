"""An index whose chunks are embedded with title and headings, or with fields of metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from roost.flows.ingest import ingest as ingest_flow
from roost.flows.parameters import IngestRequest
from roost.flows.running.progress import Progress, Warned
from roost.flows.running.run import run_flow
from roost.tasks.errors import RecipeError
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.source import Source

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


def test_another_value_of_an_embedded_field_embeds_its_documents_again_and_no_others(
    ingest: Any, stored: Any, lite: str, folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__FIELDS", "team,keeper")
    places, rules = {"name": "docs", "uri": str(folder(**PAGES))}, tmp_path / "rules.csv"
    file = Path(places["uri"]) / "boats.md"
    file.write_text(f"---\nkeeper: Ole\nowner: Ilse\n---\n{PAGES['boats.md']}")

    def run(lines: str) -> Any:
        rules.write_text(f"match,team,level\n{lines}")
        return ingest(Source(**places, metadata=Metadata(file=str(rules))))[1]

    first = run("boats.md,crew,1\ncars.md,crew,1\n")
    before, vectors, _ = stored()
    assert first.chunks.embedded == before.height
    assert set(before["embedded_context"]) == {"team: crew; keeper: Ole", "team: crew"}
    assert not before["text"].str.contains("crew").any()

    second = run("boats.md,crew,2\ncars.md,desk,1\n")
    after, others, _ = stored()
    counts = second.documents
    assert (counts.changed, counts.metadata, counts.unchanged) == (1, 1, 0)
    is_car = (after["uri"] == "cars.md").to_numpy()
    assert second.chunks.embedded == is_car.sum()
    assert np.array_equal(vectors[~is_car], others[~is_car])
    assert not (vectors[is_car] == others[is_car]).all(axis=1).any()
    assert set(after.filter(pl.col("uri") == "boats.md")["level"]) == {2}

    file.write_text(file.read_text().replace("Ilse", "Ada"))
    assert run("boats.md,crew,2\ncars.md,desk,1\n").chunks.embedded == 0
    file.write_text(file.read_text().replace("Ole", "Uwe"))
    third = run("boats.md,crew,2\ncars.md,desk,1\n")
    assert third.chunks.embedded == (~is_car).sum()
    monkeypatch.setenv("ROOST_CHUNKING__FIELDS", "")
    with pytest.raises(RecipeError, match="uses embedded fields team,keeper, your setting is none"):
        run("boats.md,crew,2\n")


def test_a_field_that_no_document_has_is_warned_of(
    prefect_api: str, lite: str, index: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__FIELDS", "tema,title,keeper")
    source = folder(**{"boats.md": f"---\nteam: crew\nkeeper: Ole\n---\n{PAGES['boats.md']}"})
    seen: list[Progress] = []
    run_flow(ingest_flow, IngestRequest(sources=[Source(uri=str(source))], index=index), seen.append)
    [warned] = [event.message for event in seen if isinstance(event, Warned)]
    assert warned.startswith(
        f"ROOST_CHUNKING__FIELDS=tema,title,keeper: no chunk of index {index!r} has a field 'tema'"
    )
    assert "did you mean 'team'?" in warned
