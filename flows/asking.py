"""Ask an index a question: find passages, then have a language model answer from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows.lookup import search_index
from flows.passages import place_of
from tasks.retrieve import Hit, How
from tasks.retrieved import Passage
from tasks.settings import load_settings


@dataclass(frozen=True)
class Answer:
    """What was answered, from which passages.

    given: The passages that the model saw: the first of those found, as far as the token budget goes.
    cited: Ranks of those that the answer names.
    """

    text: str
    model: str
    given: int
    cited: list[int]
    hits: list[Hit]

    def as_dict(self) -> dict[str, Any]:
        """The documented keys."""
        passages = [hit.as_dict() for hit in self.hits]
        return {"answer": self.text, "model": self.model, "given": self.given, "cited": self.cited,
                "passages": passages}  # fmt: skip


async def find_passages(question: str, index: str, k: int, how: How) -> list[Hit]:
    """Find what the answer is to be made of."""
    [hits] = await search_index(index, [question], k, how)
    return hits


async def answer_from(question: str, hits: list[Hit], show: Callable[[str], None]) -> Answer:
    """Have the model answer from these passages.

    Args:
        question: What a person asks.
        hits: The passages found, best first.
        show: Is called with each piece of the answer as it comes.

    Raises:
        UsageError: There is no passage, or none that fits.
        ConfigurationError: No model is set, or the endpoint refuses.
        TransientError: The endpoint does not answer.
    """
    from tasks.answer import answer, check_llm, cited, within_budget

    settings = load_settings().llm
    check_llm(settings)
    passages = [Passage(hit.id, place_of(hit), hit.text, hit.score) for hit in hits]
    given = within_budget(question, passages, settings)
    pieces = []
    async for piece in answer(question, given, settings):
        pieces.append(piece)
        show(piece)
    text = "".join(pieces)
    return Answer(text, settings.model, len(given), cited(text, len(given)), hits)
