"""Errors of endpoints with OpenAI's API as Roost's own; no message contains the key."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import openai
from pydantic import SecretStr

from roost.tasks.errors import ConfigurationError, RoostError, TransientError

#: Characters of an endpoint's error message that are repeated.
MAX_ERROR_LENGTH = 200


@dataclass(frozen=True)
class CalledEndpoint:
    """What messages say of an endpoint.

    subject: `the language model at http://127.0.0.1:8000/v1`.
    prefix: Beginning of the names of its settings: `ROOST_LLM`.
    model: Name of the model.
    timeout: Time to wait for it, in seconds.
    """

    subject: str
    prefix: str
    model: str
    key: SecretStr
    timeout: float

    def detail(self, error: BaseException) -> str:
        """Shorten an error's message to one line without the key."""
        message = " ".join(str(getattr(error, "message", "") or error or type(error).__name__).split())
        secret = self.key.get_secret_value()
        return (message.replace(secret, "…") if secret else message)[:MAX_ERROR_LENGTH]

    def explain(self, error: BaseException) -> RoostError | None:
        """Give the error to raise; None for one that is not known to be the endpoint's."""
        subject, detail = self.subject, self.detail(error)
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return ConfigurationError(f"{subject} refuses the key: set {self.prefix}__API_KEY")
            case openai.NotFoundError() | openai.BadRequestError() | openai.UnprocessableEntityError():
                return ConfigurationError(f"{subject} refuses {self.model!r}: {detail}")
            case openai.RateLimitError():
                return TransientError(f"{subject} is busy, or its quota is used up: {detail}")
            case openai.APITimeoutError() | httpx.TimeoutException():
                return TransientError(f"no answer within {self.timeout:g} s from {subject}")
            case openai.APIConnectionError() | httpx.HTTPError():
                return TransientError(f"{subject} does not answer, or the connection broke: {detail}")
        return None
