"""Requests to an endpoint with OpenAI's embeddings API (`EndpointClient`): repeated, and paused at a limited rate."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from roost.tasks.errors import ConfigurationError, RoostError, TransientError
from roost.tasks.models.endpoint import Endpoint
from roost.tasks.models.endpoint_answer import MalformedAnswerError, read_vectors
from roost.tasks.settings import Embedding

if TYPE_CHECKING:  # importing it takes a second, which only the first request pays
    import openai

    from roost.tasks.models.endpoint_errors import CalledEndpoint

#: A vector, (d,) float32, or why the endpoint refuses the text.
Answer: TypeAlias = "np.ndarray | str"

#: Delay before the first repetition of a failed request, in seconds; it doubles up to the maximum.
FIRST_DELAY_S, MAX_DELAY_S = 0.5, 8.0
#: The same for a limited rate when the endpoint does not say how long to wait.
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
#: Most seconds that a failed request waits because the endpoint asks it to.
MAX_RETRY_AFTER_S = 60.0
#: Least time between two lines that say that the endpoint limits the rate.
TELL_INTERVAL_S = 5.0
#: Codes of an answer 429 that no waiting mends.
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached")
#: Statuses that may pass: time-out, conflict.
_PASSING_STATUSES = (408, 409)
#: Statuses of a request that is refused for what it contains; 413: too much.
_REFUSED_STATUSES = (400, 413, 422)

_log = logging.getLogger(__name__)


class EndpointClient:
    """Sends requests to one endpoint. Belongs to the event loop of its first request.

    seconds: Time in which at least one request was under way.
    """

    def __init__(
        self, model: str, endpoint: Endpoint, settings: Embedding, tell: Callable[[str], None] | None = None
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            model: Name of the model at the endpoint.
            endpoint: Where it is.
            settings: Limits, and the key.
            tell: Called with a line that says that the endpoint limits the rate; None to log it.
        """
        self.seconds = 0.0
        self._model, self._endpoint, self._settings = model, endpoint, settings
        self._tell = tell or _log.warning
        self._client: openai.AsyncOpenAI | None = None
        self._called: CalledEndpoint | None = None
        self._slots = asyncio.Semaphore(settings.requests_in_flight)
        self._resume_at = self._pause_s = self._told_at = self._busy_since = 0.0
        self._busy = 0

    async def ask(self, texts: Sequence[str], *, patience_s: float = math.inf) -> list[Answer]:
        """Send one request.

        Args:
            texts: n texts, as they are sent.
            patience_s: Most seconds to wait where the endpoint limits the rate.

        Returns:
            n answers, in the order of the texts.

        Raises:
            ConfigurationError: The endpoint refuses the key or the model, or the quota is used up.
            TransientError: It fails more often than is retried, or limits the rate for longer than the patience.
        """
        async with self._slots:
            if not self._busy:
                self._busy_since = time.perf_counter()
            self._busy += 1
            try:
                return await self._until_answered(list(texts), patience_s)
            except RoostError as error:
                error.__context__ = None  # the endpoint's own error may repeat the key
                raise
            finally:
                self._busy -= 1
                if not self._busy:
                    self.seconds += time.perf_counter() - self._busy_since

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.close()

    async def _until_answered(self, texts: list[str], patience_s: float) -> list[Answer]:
        """Repeat a request until it is answered. A limited rate is waited for, and is no failure."""
        import openai

        called = self._describe()
        failures = 0
        while True:
            patience_s -= await self._pause()
            try:
                return list(await self._send(texts))
            except openai.RateLimitError as error:
                if error.code in _QUOTA_CODES:
                    raise ConfigurationError(
                        f"{called.subject}: the quota is used up ({called.detail(error)})"
                    ) from None
                self._limit(error, called.subject)
                if self._resume_at - time.monotonic() > patience_s:
                    raise called.explain(error) or error from None
            except openai.APIStatusError as error:
                if error.status_code in _REFUSED_STATUSES:
                    return await self._ask_halves(texts, patience_s, called.detail(error))
                if error.status_code < 500 and error.status_code not in _PASSING_STATUSES:
                    raise self._explained(error) from None
                failures += 1
                await self._delay(error, failures, min(_retry_after(error) or 0.0, MAX_RETRY_AFTER_S))
            except (openai.APIConnectionError, MalformedAnswerError) as error:
                failures += 1
                await self._delay(error, failures)

    async def _ask_halves(self, texts: list[str], patience_s: float, detail: str) -> list[Answer]:
        """Find the texts for which a request is refused: it may also be too large as a whole."""
        if len(texts) == 1:
            return [f"the endpoint refuses the text: {detail}"]
        middle = len(texts) // 2
        first = await self._until_answered(texts[:middle], patience_s)
        return first + await self._until_answered(texts[middle:], patience_s)

    async def _send(self, texts: list[str]) -> list[np.ndarray]:
        answer = await self._connected().embeddings.with_raw_response.create(
            model=self._model, input=texts, encoding_format="base64"
        )
        return read_vectors(answer.content, len(texts))

    async def _pause(self) -> float:
        """Wait while the endpoint limits the rate; returns the seconds waited."""
        started = time.monotonic()
        while (left := self._resume_at - time.monotonic()) > 0:  # another answer may set it later  # noqa: ASYNC110
            await asyncio.sleep(left)
        return time.monotonic() - started

    def _limit(self, error: openai.RateLimitError, subject: str) -> None:
        """Let all requests wait as long as the endpoint says, else longer each time."""
        now = time.monotonic()
        wait_s = _retry_after(error)
        if wait_s is None:
            is_new = now - self._resume_at > MAX_PAUSE_S
            self._pause_s = FIRST_PAUSE_S if is_new else min(MAX_PAUSE_S, 2 * self._pause_s or FIRST_PAUSE_S)
            wait_s = self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        self._resume_at = max(self._resume_at, now + wait_s)
        if now - self._told_at >= TELL_INTERVAL_S:
            self._told_at = now
            self._tell(f"{subject} limits the rate of requests: waiting {self._resume_at - now:.1f} s")

    async def _delay(self, error: Exception, failures: int, at_least_s: float = 0.0) -> None:
        """Wait before a request is repeated.

        Raises:
            TransientError: It was repeated often enough.
        """
        if failures > self._settings.retries:
            raise self._explained(error) from None
        delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        await asyncio.sleep(max(delay, at_least_s))

    def _explained(self, error: Exception) -> RoostError:
        called = self._describe()
        return called.explain(error) or TransientError(f"{called.subject} fails: {called.detail(error)}")

    def _describe(self) -> CalledEndpoint:
        if self._called is None:
            from roost.tasks.models.endpoint_errors import CalledEndpoint

            subject = f"the embedding endpoint {self._endpoint.base_url}"
            key, timeout = self._settings.key_for(self._endpoint.base_url), self._settings.timeout
            self._called = CalledEndpoint(subject, "ROOST_EMBEDDING", self._model, key, timeout)
        return self._called

    def _connected(self) -> openai.AsyncOpenAI:
        if self._client is None:
            import openai

            url, settings = self._endpoint.base_url, self._settings
            shared: dict[str, Any] = {
                "api_key": settings.key_for(url).get_secret_value() or "none",
                "timeout": settings.timeout,
                "max_retries": 0,
                # a redirection would take texts, and Azure's key, to another host
                "http_client": openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=settings.timeout),
            }
            if version := self._endpoint.api_version:
                self._client = openai.AsyncAzureOpenAI(azure_endpoint=url, api_version=version, **shared)
            else:
                self._client = openai.AsyncOpenAI(base_url=url, **shared)
        return self._client


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Read how long the endpoint asks to wait, in seconds; None when it does not say."""
    headers = error.response.headers
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
