"""The page of a rebuild says which version is in use, which one answers better, and the way back."""

from __future__ import annotations

from dataclasses import replace

from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.evaluation.rebuild_page import rebuild_page
from roost.tasks.evaluation.rebuild_report import QualityComparison, RebuildReport, RebuiltDocuments
from roost.tasks.steps.report import ChunkCounts, Reject, StoreCounts

PROMOTED = RebuildReport(
    index="docs",
    version="docs__v2",
    before="docs__v1",
    promoted=True,
    changes={"chunk_size": (240, 120)},
    passes=2,
    documents=RebuiltDocuments(added=26),
    chunks=ChunkCounts(embedded=53, reused=62),
    store=StoreCounts(26, 115),
    quality=QualityComparison("q.jsonl", 80, {MAIN: Estimate(0.90, 0.8, 1)}, {MAIN: Estimate(0.89, 0.8, 1)}),
    thresholds={MAIN: 0.5},
    max_drop=0.02,
    missed=(),
    lost=(),
    rejects=(Reject("b.docx", "damaged: no zip"),),
    seconds=41.2,
)


def test_a_promoted_version_is_compared_and_the_way_back_is_named() -> None:
    text = rebuild_page(PROMOTED).as_markdown()
    assert text.startswith("# Rebuild of docs: searches now use the new version\n\nA second version of the index was ")
    assert "the new one answers worse (nDCG@10 -0.0100; a drop of 0.02 is allowed). It is in use now." in text
    assert "`roost rollback --index docs` goes back at once" in text
    assert "| tokens in a chunk of text | 240 | 120 |" in text
    assert "| nDCG@10 | 0.9000 | 0.8900 | -0.0100 | 0.5 |" in text
    assert "- b.docx: damaged: no zip" in text


def test_a_version_that_is_not_good_enough_leaves_searches_as_they_are() -> None:
    missed = replace(PROMOTED, promoted=False, missed=("nDCG@10 fell by 0.3",))
    text = rebuild_page(missed).as_markdown()
    assert "the new version is not good enough, the old one stays" in text
    assert "- **nDCG@10 fell by 0.3**\n- Searches are as before." in text


def test_a_rebuild_without_questions_says_that_nothing_was_measured() -> None:
    text = rebuild_page(replace(PROMOTED, quality=QualityComparison(None, 0, None, None))).as_markdown()
    assert "| **not measured** | **26** | **1** |" in text
    assert "![" not in text
