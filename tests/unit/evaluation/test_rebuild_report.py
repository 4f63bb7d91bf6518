"""The report of a rebuild: its JSON keys, its outcome and its summary."""

from __future__ import annotations

import json
from dataclasses import replace

from roost.tasks.evaluation.measures import Estimate
from roost.tasks.evaluation.rebuild_report import QualityComparison, RebuildReport, RebuiltDocuments
from roost.tasks.steps.report import ChunkCounts, DocumentCounts, Reject, StoreCounts
from roost.tasks.versions.carry_over import LostDocument

MEASURED = {"nDCG@10": Estimate(0.9, 0.8, 1.0)}
REPORT = RebuildReport(
    index="docs",
    version="docs__bbbbbbbb",
    before="docs__aaaaaaaa",
    promoted=True,
    changes={"chunk_size": (240, 100)},
    passes=2,
    documents=RebuiltDocuments(added=3),
    chunks=ChunkCounts(embedded=5, reused=1, written=6),
    store=StoreCounts(documents=3, chunks=6),
    quality=QualityComparison("3 sentences sampled from docs__aaaaaaaa", 3, MEASURED, MEASURED),
    thresholds={},
    max_drop=0.02,
    missed=(),
    lost=(),
    rejects=(),
    seconds=1.5,
)


def test_the_report_has_the_documented_keys_and_is_json() -> None:
    report = json.loads(json.dumps(REPORT.as_dict()))
    assert list(report) == [
        "index",
        "version",
        "before",
        "promoted",
        "changes",
        "passes",
        "documents",
        "chunks",
        "store",
        "quality",
        "thresholds",
        "max_drop",
        "missed",
        "lost",
        "rejects",
        "seconds",
    ]
    assert report["quality"]["after"] == {"nDCG@10": {"value": 0.9, "low": 0.8, "high": 1.0}}
    assert report["documents"] == {"added": 3, "changed": 0, "renamed": 0, "deleted": 0, "quarantined": 0}
    assert report["changes"] == {"chunk_size": [240, 100]}


def test_the_outcome_is_missed_before_partial_before_completed() -> None:
    assert REPORT.outcome == "Completed"
    partial = replace(REPORT, lost=(LostDocument("notes", "a.md", "too_slow: 120 s"),))
    assert partial.outcome == replace(REPORT, rejects=(Reject("a.md", "too_slow: 120 s"),)).outcome == "Partial"
    assert replace(partial, missed=("nDCG@10 fell",)).outcome == "QualityMissed"


def test_the_summary_says_which_version_the_index_uses_and_why() -> None:
    assert REPORT.summary() == (
        "docs: docs__bbbbbbbb built in 2 passes, 3 documents, 5 chunks embedded, 1 reused; "
        "nDCG@10 0.9000, was 0.9000, on 3 questions; docs now uses it"
    )
    missed = replace(REPORT, promoted=False, missed=("nDCG@10 fell by 0.1",))
    assert missed.summary().endswith("not promoted: nDCG@10 fell by 0.1; docs still uses docs__aaaaaaaa")


def test_documents_add_up_over_passes_but_the_quarantined_are_those_of_the_last() -> None:
    first = RebuiltDocuments().plus(DocumentCounts(listed=3, added=3, quarantined=2))
    assert first.plus(DocumentCounts(listed=3, changed=1, quarantined=1)) == RebuiltDocuments(
        added=3, changed=1, quarantined=1
    )
