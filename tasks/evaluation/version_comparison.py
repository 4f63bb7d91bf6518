"""The comparison of two versions of an index: questions that both can answer, and the verdict on the new version."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl

from roost.tasks.errors import ModelError
from roost.tasks.evaluation.metrics import Quality, measure_quality
from roost.tasks.evaluation.questions import Questions, sample_questions
from roost.tasks.evaluation.thresholds import Thresholds, missed
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.settings import Embedding
from roost.tasks.versions.carry_over import LostDocument
from roost.tasks.versions.version import Version

#: Sampled questions with which a comparison decides; fewer show nothing.
MIN_DECISIVE = 30


@dataclass(frozen=True)
class Verdict:
    """Whether the new version may become the live one.

    questions: The questions that both versions were asked; None when there were none to ask.
    before, after: Quality of the live and of the new version; None where it was not measured.
    missed: Why the new version must not be promoted, one line each; empty when it may be.
    lost: Documents that can be searched in the live version and not in the new one.
    undecided: Why the questions show nothing, so that only a person may promote the new version; empty when they do.
    """

    questions: Questions | None
    before: Quality | None
    after: Quality | None
    missed: tuple[str, ...]
    lost: tuple[LostDocument, ...]
    undecided: str = ""

    @property
    def reasons_against(self) -> tuple[str, ...]:
        """Why the run does not promote the new version by itself, one line each; empty when it does."""
        return (*self.missed, self.undecided) if self.undecided else self.missed

    def stored_quality(self, quality: Quality | None) -> dict[str, Any]:
        """Give the measures of one version as they are stored with it; empty when it was not measured."""
        if not quality or not self.questions:
            return {}
        return {
            "measures": {name: round(estimate.value, 6) for name, estimate in quality.measures.items()},
            "questions": self.questions.origin,
            "asked": quality.asked,
            "fingerprint": quality.questions,
            "measured": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def stored_result(self) -> dict[str, Any]:
        """Give the measures of the new version with the missed thresholds, as they are stored with it."""
        reasons = {"missed": list(self.missed)} if self.missed else {}
        return self.stored_quality(self.after) | reasons


async def draw_common_questions(
    store: Store, version: Version, live: pl.DataFrame, target: pl.DataFrame, count: int
) -> Questions:
    """Draw sentences of the live version, of documents whose content is equal in both versions.

    Any other document could not be found in both, whatever their quality.

    Args:
        store: Where both versions are.
        version: The live version.
        live, target: Ledgers of both versions, frames of `ledger.ROW`.
        count: Questions to draw, at most.
    """
    drawn = await sample_questions(store, version, count, live)
    same = live.join(target, on=["doc_id", "content_hash"], how="semi")
    judgments = drawn.judgments.join(same.select(document="doc_id"), on="document", how="semi")
    asked = drawn.asked.join(judgments, on="question", how="semi", maintain_order="left")
    return Questions(f"{asked.height} sentences sampled from {version.name}", asked, judgments, sampled=True)


def too_few(questions: Questions, target: Version) -> str:
    """Say that too few questions could be sampled to compare two versions; empty when there are enough."""
    count = len(questions.judged)
    if not questions.sampled or count >= MIN_DECISIVE:
        return ""
    return (
        f"only {count} questions could be sampled from the index, which shows nothing about quality ({MIN_DECISIVE} "
        f"are needed). To use the new version: roost promote {target.name} --index {target.index}; to decide by your "
        "own questions: --questions; to promote without a comparison: --max-drop 1"
    )


async def measure_live(
    store: Store,
    version: Version,
    embedder: Embedder,
    questions: Questions,
    *,
    settings: Embedding,
    ledger: pl.DataFrame,
) -> tuple[Quality | None, str]:
    """Measure the live version with the model of its own recipe.

    Args:
        store: Where the version is.
        version: The live version.
        embedder: The new version's embedder; it is used if both versions have the same model.
        questions: The questions to ask.
        settings: How to open the model of the recipe.
        ledger: Ledger of the live version, frame of `ledger.ROW`.

    Returns:
        The quality and an empty text, or None and why the model of the recipe cannot be used.
    """
    measure = partial(measure_quality, store, version, questions=questions, exact=False, waits=False, ledger=ledger)
    try:
        model = await asyncio.to_thread(model_of, version.recipe, settings, version.endpoint)
        if model == embedder.model:
            return await measure(embedder=embedder), ""
        async with Embedder(model, settings) as own:
            return await measure(embedder=own), ""
    except ModelError as error:
        return None, str(error)


def reasons_against(
    before: Quality | None, after: Quality, thresholds: Thresholds, *, unmeasured: str = ""
) -> list[str]:
    """List why the new version must not be promoted, one line each; empty when all thresholds are reached.

    Args:
        before: Quality of the live version; None when it could not be measured.
        after: Quality of the new version.
        thresholds: Conditions to check.
        unmeasured: Why the live version could not be measured.
    """
    lines = []
    if unmeasured and thresholds.max_drop is not None:
        lines.append(
            f"the live version could not be measured, so a drop cannot be ruled out: {unmeasured}; --max-drop 1 "
            "allows any drop"
        )
    earlier = {name: estimate.value for name, estimate in before.measures.items()} if before else None
    return lines + missed(after.measures, thresholds, earlier)
