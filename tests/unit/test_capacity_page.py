"""Results of the benchmarks of scale are written into docs/capacity.md, each into its sections."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks.scale.page import kinds_of, write_result
from tests.benchmarks.scale.reckon import reckon

ROOT = Path(__file__).parents[2]
ENGINES = [
    {"engine": "dask", "workers": workers, "cpu_s_per_batch": {"run": 0.02, "prefect": 0.05}} for workers in (1, 4, 2)
]
PREFECT = {"recorded_per_second": 50.0}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "measurements").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "capacity.md").write_text((ROOT / "docs" / "capacity.md").read_text("utf-8"))
    return tmp_path


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "measurements").glob("*.json")), ids=lambda file: file.stem)
def test_the_page_has_what_its_raw_results_say(docs: Path, file: Path) -> None:
    write_result(json.loads(file.read_text("utf-8")), docs)
    assert (docs / "capacity.md").read_text("utf-8") == (ROOT / "docs" / "capacity.md").read_text("utf-8")
    assert (docs / "measurements" / file.name).read_text("utf-8") == file.read_text("utf-8")
    for picture in (docs / "pictures").iterdir():
        assert picture.read_text("utf-8") == (ROOT / "docs" / "pictures" / picture.name).read_text("utf-8")


def test_the_picture_has_a_line_for_each_measure(docs: Path) -> None:
    result: dict[str, Any] = json.loads((ROOT / "docs" / "measurements" / "scale.json").read_text("utf-8"))
    write_result(result, docs)
    lines = re.findall(r'<polyline points="([^"]+)"', (docs / "pictures" / "scale.svg").read_text("utf-8"))
    samples = len(result["write"]["samples"])
    assert [len(line.split()) for line in lines] == [samples - 1, samples, samples, samples - 1]


def test_a_small_run_counts_for_its_transfers_only() -> None:
    small = {"catch_up": {}, "write": {"first_rows": {"rows": 5_000}}, "transfers": {}}
    assert kinds_of(small) == ["transfers"]
    with pytest.raises(ValueError, match="of no benchmark"):
        kinds_of({"measured": "2026-11-22"})


def test_a_batch_of_100_workers_lasts_as_long_as_the_slower_of_prefect_and_the_run_takes_for_100() -> None:
    [found] = reckon(ENGINES, PREFECT)
    assert found["batches_per_second_at_most"] == {"prefect": 10.0, "run": 50.0}
    assert (found["bound"], found["batch_s_at_least"]) == ("prefect", 10.0)
    assert found["batch_chunks_at_least"] == 926
    assert reckon(ENGINES, {"recorded_per_second": 500.0})[0]["bound"] == "run"
