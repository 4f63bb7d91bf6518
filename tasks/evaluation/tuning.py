"""The choice of a fusion by judged questions (`tune`): half of them choose, the other half measures the choice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.judgments import judged_items, resolve_known
from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.evaluation.metrics import estimate, score
from roost.tasks.evaluation.questions import Questions
from roost.tasks.evaluation.rankings import by_document, rank_ways
from roost.tasks.evaluation.version_comparison import MIN_DECISIVE
from roost.tasks.ids import digest
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.versions.fusion import METHODS, Fusion, make_fusion
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.searchable import wait_until_searchable
from roost.tasks.versions.version import Version

#: Weights that are tried; at 0, 0.5 and 1 `weighted` ranks as `sparse`, `minmax` and `dense` do.
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
#: Fusions that are tried. Of equally good ones the first is chosen: the simpler one.
CANDIDATES = (
    *(make_fusion(method) for method, weight in METHODS.items() if weight is not None),
    *(make_fusion("weighted", weight) for weight in WEIGHTS),
)


@dataclass(frozen=True)
class Tuning:
    """A fusion chosen by judged questions.

    fusion: The best one on the first half of the questions.
    before: The one that the index was searched by until now.
    quality: nDCG@10 of the chosen one on the second half.
    quality_before: The same of the one before.
    difference: Mean difference of both on the second half, with its interval by the paired bootstrap.
    chosen_on, measured_on: Numbers of questions of both halves.
    tried: Every fusion with its nDCG@10 on the first half, best first.
    unknown: Number of judgments whose document is not in the index; they count as not found.
    """

    index: str
    fusion: Fusion
    before: Fusion
    quality: Estimate
    quality_before: Estimate
    difference: Estimate
    chosen_on: int
    measured_on: int
    tried: tuple[tuple[Fusion, float], ...]
    unknown: int

    @property
    def is_kept(self) -> bool:
        """Whether the index is to be searched by the choice: not if the second half shows that it is worse."""
        return self.fusion == self.before or self.difference.high >= 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how far the choice can be trusted."""
        notes = []
        if self.measured_on < MIN_DECISIVE:
            notes.append(
                f"only {self.measured_on} questions measure the choice, which shows little about quality: give at "
                f"least {2 * MIN_DECISIVE} judged questions"
            )
        if not self.is_kept:
            notes.append(
                "the choice is worse than the fusion before on the questions that did not choose it: the index is "
                f"searched by {self.before.label} as before"
            )
        if self.unknown:
            notes.append(f"{self.unknown} judgments name documents that are not in the index; they count as not found")
        return tuple(notes)

    def as_dict(self) -> dict[str, Any]:
        """Give the documented JSON keys."""
        return {
            "index": self.index,
            "fusion": self.fusion.method,
            "weight": self.fusion.weight,
            "kept": self.is_kept,
            MAIN: asdict(self.quality),
            "before": {"fusion": self.before.method, "weight": self.before.weight, MAIN: asdict(self.quality_before)},
            "difference": asdict(self.difference),
            "questions": {"chosen_on": self.chosen_on, "measured_on": self.measured_on},
            "tried": [{"fusion": fusion.method, "weight": fusion.weight, MAIN: value} for fusion, value in self.tried],
            "unknown": self.unknown,
            "notes": list(self.notes),
        }


async def tune(store: Store, version: Version, embedder: Embedder, questions: Questions) -> Tuning:
    """Choose the fusion with the best nDCG@10 on half of the judged questions, and measure it on the other half.

    Args:
        store: The open Milvus.
        version: A version with words.
        embedder: Its model.
        questions: The questions.

    Raises:
        UsageError: Fewer than two questions are judged, or none of the judged documents is in the index.
    """
    judged = questions.asked.filter(pl.col("question").is_in(questions.judged))
    if judged.height < 2:
        raise UsageError(f"{questions.origin}: {judged.height} judged questions: half of them choose, half measure")
    ledger = await read_ledger(store, version.ledger, ["doc_id", "source", "uri", "status", "chunk_count"])
    resolved = resolve_known(questions, ledger, version.index)
    await wait_until_searchable(store, version)
    names, texts = judged["question"].to_list(), judged["text"].to_list()
    vectors, before = await embedder.embed_queries(texts), version.default_fusion
    ways = dict.fromkeys((*CANDIDATES, before))
    rankings = await rank_ways(store, version, names, vectors, texts=texts, fusions=list(ways))
    first, second = split_in_halves(names)
    items = judged_items(resolved)

    def values(fusion: Fusion) -> dict[str, float]:
        scored = score(items, by_document(rankings[fusion]).rename({"doc_id": "item"}))
        return dict(scored.select("question", MAIN).iter_rows())

    found = await asyncio.to_thread(lambda: {fusion: values(fusion) for fusion in ways})
    means = {fusion: float(np.mean([found[fusion][name] for name in first])) for fusion in CANDIDATES}
    chosen = max(means, key=lambda fusion: round(means[fusion], 6))
    after, earlier = (np.array([found[fusion][name] for name in second]) for fusion in (chosen, before))
    return Tuning(
        index=version.index,
        fusion=chosen,
        before=before,
        quality=estimate(after),
        quality_before=estimate(earlier),
        difference=estimate(after - earlier),
        chosen_on=len(first),
        measured_on=len(second),
        tried=tuple(sorted(means.items(), key=lambda pair: -pair[1])),
        unknown=resolved.filter(pl.col("why") != "").height,
    )


def split_in_halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split ids of questions into two halves, the same each time whatever their order; the second may have one more."""
    ordered = sorted(names, key=lambda name: digest(name.encode(), 8))
    return ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
