"""Ways to search that are measured side by side: which there are, and how they are reported."""

from __future__ import annotations

import base64
import re

import numpy as np
import polars as pl
import pytest
from tests.unit.evaluation.reports import WAYS, make_report

from roost.flows.parameters import EvaluationRequest
from roost.tasks.errors import UsageError
from roost.tasks.evaluation.measures import Estimate
from roost.tasks.evaluation.metrics import estimate, estimate_difference
from roost.tasks.evaluation.questions import JUDGMENT, QUESTION, Questions
from roost.tasks.evaluation.report_text import make_evaluation_page
from roost.tasks.evaluation.ways import Way, choose_ways
from roost.tasks.models.recipe import Recipe
from roost.tasks.models.reranker import Reranker
from roost.tasks.settings import Embedding, Search
from roost.tasks.versions.fusion import DENSE, RRF, make_fusion
from roost.tasks.versions.version import Version

TUNED = Version(
    "docs",
    "docs__v1",
    Recipe("m", "r", 1, "c", 240, 24, "", "", sparse="bm25"),
    "",
    "COSINE",
    fusion=make_fusion("weighted", 0.7),
)
ASKED = pl.DataFrame([("q", "why?")], schema=QUESTION, orient="row")
JUDGED = Questions("file", ASKED, pl.DataFrame([("q", "a.md", 1, None, None)], schema=JUDGMENT, orient="row"))


def test_the_chosen_way_is_that_of_the_index() -> None:
    ways = choose_ways(TUNED, ["dense", "rrf", "chosen"], JUDGED, None)
    assert ways == {"dense": Way(DENSE), "rrf": Way(RRF), "chosen": Way(make_fusion("weighted", 0.7))}


def test_the_reranked_way_is_that_of_the_index_with_the_reranker_that_is_set() -> None:
    reranker = Reranker(Search(reranker="a-model"), Embedding())
    ways = choose_ways(TUNED, ["chosen", "rerank"], JUDGED, reranker)
    assert ways == {"chosen": Way(TUNED.default_fusion), "rerank": Way(TUNED.default_fusion, reranker)}
    with pytest.raises(UsageError, match="no reranker is set: set ROOST_SEARCH__RERANKER"):
        choose_ways(TUNED, ["rerank"], JUDGED, None)


def test_a_comparison_without_judgments_is_refused() -> None:
    with pytest.raises(UsageError, match="--compare needs judged questions"):
        choose_ways(TUNED, ["dense"], Questions("file", ASKED, JUDGMENT.to_frame()), None)


def test_a_way_that_is_named_twice_is_measured_once() -> None:
    assert EvaluationRequest(compare=["rrf", "dense", "rrf"]).compare == ["rrf", "dense"]


def test_a_clear_difference_has_a_small_p_value_and_none_has_a_large_one() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, 200)
    centred = values - values.mean()
    assert estimate_difference(centred + 0.5)[1] < 0.001
    assert estimate_difference(centred - 0.5)[1] < 0.001
    assert estimate_difference(centred)[1] > 0.9
    assert estimate_difference(np.zeros(5)) == (Estimate(0.0, 0.0, 0.0), 1.0)
    assert estimate_difference(values)[0] == estimate(values)


def test_the_documented_keys_are_there() -> None:
    first, second = make_report(compare=WAYS).as_dict()["compare"]
    assert first["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert second == {
        "way": "minmax",
        "nDCG@10": {"value": 0.5, "low": 0.4, "high": 0.6},
        "recall@10": {"value": 0.5, "low": 0.4, "high": 0.6},
        "MRR@10": {"value": 0.5, "low": 0.4, "high": 0.6},
        "p50_ms": 8.0,
        "p95_ms": 9.0,
        "difference": {"value": 0.0912, "low": 0.02, "high": 0.15},
        "p": 0.004,
    }


def test_the_artifact_has_a_table_and_a_chart_of_them() -> None:
    section = make_evaluation_page(make_report(compare=WAYS)).as_markdown().split("## Ways to search")[1].split("##")[0]
    assert "| minmax |" in section
    assert "+0.0912 (+0.020 to +0.150)" in section
    [image] = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", section)
    svg = base64.b64decode(image).decode()
    assert "minmax" in svg
    assert "nDCG@10 with its 95 % interval" in svg
    assert "Ways to search" not in make_evaluation_page(make_report()).as_markdown()
