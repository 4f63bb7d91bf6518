"""The client of a language model endpoint, whatever the name of its model.

The only module that overrides private parts of llama-index-llms-openai: LlamaIndex reads the context window and the
tokenizer of a model from a table by the model's name, which refuses unknown names.
tests/unit/search/test_endpoint.py fails when one of these parts changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Any

import openai
from llama_index.core.base.llms.types import ChatResponse, ChatResponseAsyncGen, LLMMetadata, MessageRole
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

from roost.tasks.errors import ConfigurationError
from roost.tasks.settings import LLM

#: Version whose private parts are overridden: the beginning of its number.
OVERRIDDEN_VERSION = "0.7."
OPENAI_URL = "https://api.openai.com/v1"

_TRUNCATED = "… (cut off after {} tokens: raise ROOST_LLM__ANSWER_TOKENS)"


class Endpoint(OpenAI):
    """LlamaIndex's client of OpenAI's chat completions, for models of any name.

    window: Context window of the model, in tokens.
    """

    window: int

    @property
    def metadata(self) -> LLMMetadata:
        """Describe the model from the settings."""
        return LLMMetadata(
            context_window=self.window,
            num_output=self.max_tokens or 0,
            is_chat_model=True,
            model_name=self.model,
            is_function_calling_model=False,
            system_role=MessageRole.SYSTEM,
        )

    @property
    def _tokenizer(self) -> None:
        return None

    async def _astream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseAsyncGen:
        """Append a note to an answer that the endpoint truncated, so that it is not taken for a complete one."""
        parts = await super()._astream_chat(messages, **options)

        async def with_note() -> ChatResponseAsyncGen:
            async for part in parts:
                yield part
                if any(choice.finish_reason == "length" for choice in getattr(part.raw, "choices", [])):
                    yield ChatResponse(message=part.message, delta=_TRUNCATED.format(self.max_tokens))

        return with_note()


def make_endpoint(settings: LLM, client: openai.AsyncOpenAI) -> Endpoint:
    """Make LlamaIndex's client of the endpoint that the settings name.

    Args:
        settings: Model, limits and address.
        client: OpenAI's own client, which sends the requests.

    Raises:
        ConfigurationError: Another version of llama-index-llms-openai is installed.
    """
    if not (installed := installed_version("llama-index-llms-openai")).startswith(OVERRIDDEN_VERSION):
        raise ConfigurationError(
            f"llama-index-llms-openai {installed} is installed, but roost ask needs {OVERRIDDEN_VERSION}x: "
            f"pip install 'llama-index-llms-openai=={OVERRIDDEN_VERSION}*'"
        )
    return Endpoint(
        model=settings.model,
        window=4 * (settings.context_tokens + settings.answer_tokens),
        max_tokens=settings.answer_tokens,
        temperature=settings.temperature,
        max_retries=0,
        api_key=client.api_key,
        api_base=settings.base_url or OPENAI_URL,
        async_openai_client=client,
    )
