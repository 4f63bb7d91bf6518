"""Embedding at an endpoint (`EndpointRunner`): texts are shared out over requests, and each vector is checked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from roost.tasks.errors import ModelError
from roost.tasks.models.endpoint import CANARY, check_canary, encode_canary
from roost.tasks.models.endpoint_answer import defect
from roost.tasks.models.endpoint_client import Answer, EndpointClient
from roost.tasks.models.engine import Vectors, cut_requests
from roost.tasks.models.loop_thread import LoopThread
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.settings import Embedding


class EndpointRunner:
    """Asks an endpoint; see `roost.tasks.models.engine.Runner`.

    Before the first vector is used, the endpoint embeds the canary text: another model is refused.
    """

    def __init__(self, model: Model, settings: Embedding, tell: Callable[[str], None] | None = None) -> None:
        """Prepare it; nothing is sent yet.

        Args:
            model: A model at an endpoint.
            settings: Limits of requests.
            tell: As `EndpointClient` takes it.
        """
        assert model.endpoint is not None  # noqa: S101  `Embedder` asks before
        self._model, self._settings, self._endpoint = model, settings, model.endpoint
        self._client = EndpointClient(model.name, model.endpoint, settings, tell)
        self._thread = LoopThread()
        self._checking = asyncio.Lock()
        self._is_checked = False

    @property
    def seconds(self) -> float:
        """Time in which at least one request was under way, in seconds."""
        return self._client.seconds

    def close(self) -> None:
        """Cancel what runs."""
        self._thread.close(self._client.aclose)

    def share_out(self, tokens: Sequence[int]) -> list[np.ndarray]:
        """Share texts out over requests, in their order, within the limits of tokens and of texts."""
        instruction = self._count_tokens(self._model.text_instruction)
        return self._cut([count + instruction for count in tokens])

    def submit_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> Future[Vectors]:
        """Send one request."""
        return self._thread.submit(self._embed_chunks, texts)

    def submit_queries(self, texts: Sequence[str]) -> Future[np.ndarray]:
        """Send as many requests as the queries need."""
        return self._thread.submit(self._embed_queries, texts)

    def submit_load(self) -> Future[None]:
        """Check that the model that embedded the version still answers."""
        return self._thread.submit(self._check, math.inf)

    async def _embed_chunks(self, texts: Sequence[str]) -> Vectors:
        await self._check(math.inf)
        answers = await self._client.ask([self._model.text_instruction + text for text in texts])
        dimension = self._model.dimension
        if len(texts) > 1 and not any(_has_dimension(answer, dimension) for answer in answers):
            self._is_checked = False  # the server was given another model while the run goes on
            await self._check(math.inf)
        return _checked_vectors(answers, dimension)

    async def _embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        asked = [self._model.query_instruction + text for text in texts]
        parts = self._cut([self._count_tokens(text) + self._model.special_tokens for text in asked])
        patience_s = self._settings.timeout
        requests = (self._client.ask([asked[row] for row in rows], patience_s=patience_s) for rows in parts)
        found, _ = await asyncio.gather(asyncio.gather(*requests), self._check(patience_s))
        done = _checked_vectors([answer for answers in found for answer in answers], self._model.dimension)
        for row, reason in sorted(done.refused.items()):
            raise ModelError(f"a query cannot be embedded ({reason}): {texts[row][:80]!r}")
        return done.values

    async def _check(self, patience_s: float) -> None:
        """Compare the vector of the canary text with the stored one, once.

        Raises:
            ModelError: Another model answers.
        """
        async with self._checking:
            if not self._is_checked:
                [answer] = await self._client.ask([CANARY], patience_s=patience_s)
                check_canary(self._model.name, self._endpoint, checked_canary(answer))
                self._is_checked = True

    def _cut(self, tokens: Sequence[int]) -> list[np.ndarray]:
        parts = cut_requests(tokens, self._settings.tokens_per_request, self._settings.inputs_per_request)
        return [np.arange(part.start, part.stop) for part in parts]

    def _count_tokens(self, text: str) -> int:
        tokenizer = load_tokenizer(self._model.tokenizer_file)
        return len(tokenizer.encode(text, add_special_tokens=False).ids)


def checked_canary(answer: Answer) -> str:
    """Give the vector of the canary text as `Endpoint.canary`.

    Raises:
        ModelError: The endpoint gave none, or one that is not finite.
    """
    reason = answer if isinstance(answer, str) else defect(answer, len(answer))
    if isinstance(answer, str) or reason:
        raise ModelError(f"the model cannot be used: {reason}")
    return encode_canary(answer)


def _has_dimension(answer: Answer, dimension: int) -> bool:
    return not isinstance(answer, str) and len(answer) == dimension


def _checked_vectors(answers: Sequence[Answer], dimension: int) -> Vectors:
    """Make unit vectors of answers; a text with a vector that cannot be stored is refused."""
    values = np.zeros((len(answers), dimension), dtype=np.float32)
    refused: dict[int, str] = {}
    for row, answer in enumerate(answers):
        if isinstance(answer, str):
            refused[row] = answer
        elif reason := defect(answer, dimension):
            refused[row] = reason
        else:
            values[row] = answer / np.linalg.norm(answer.astype(np.float64))
    return Vectors(values, refused)
