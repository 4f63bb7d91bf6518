"""Answers of the language model to some questions of an evaluation, for a person to read."""

from __future__ import annotations

import asyncio

from roost.tasks.errors import RoostError
from roost.tasks.evaluation.report_parts import SampleAnswer
from roost.tasks.search.answer import answer_from
from roost.tasks.search.hits import Hit
from roost.tasks.settings import LLM

#: Questions that are sent to the language model at the same time.
MAX_CONCURRENT_ANSWERS = 4


async def answer_questions(questions: list[str], found: list[list[Hit]], settings: LLM) -> list[SampleAnswer]:
    """Have the language model answer questions from their hits.

    Args:
        questions: n questions.
        found: n lists of hits.
        settings: The endpoint.

    Returns:
        n answers; one that failed contains the error instead.
    """
    gate = asyncio.Semaphore(MAX_CONCURRENT_ANSWERS)

    async def answer_one(question: str, hits: list[Hit]) -> SampleAnswer:
        places = tuple(hit.place for hit in hits)
        try:
            async with gate:
                answer = await answer_from(question, hits, settings, lambda _: None)
        except RoostError as error:
            return SampleAnswer(question, "", str(error), settings.model, 0, (), places)
        return SampleAnswer(question, answer.text, "", answer.model, answer.given, tuple(answer.cited), places)

    return list(await asyncio.gather(*map(answer_one, questions, found)))
