"""The private parts of llama-index-llms-openai that the endpoint overrides are still there."""

from __future__ import annotations

import inspect
import sys

import openai
import pytest
from llama_index.llms.openai import OpenAI

from roost.tasks.errors import ConfigurationError
from roost.tasks.search import endpoint
from roost.tasks.settings import LLM

SETTINGS = LLM(model="some-model", context_tokens=1000, answer_tokens=100)


def client() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="k", base_url="http://127.0.0.1:1")


def test_a_model_of_an_unknown_name_has_a_window_and_no_tokenizer_of_its_own() -> None:
    made = endpoint.make_endpoint(SETTINGS, client())
    assert (made.metadata.context_window, made.metadata.num_output, made.metadata.model_name) == (
        4400,
        100,
        "some-model",
    )
    assert made._tokenizer is None


def test_another_version_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "installed_version", lambda _: "9.9")
    with pytest.raises(ConfigurationError, match=r"llama-index-llms-openai 9\.9 is installed"):
        endpoint.make_endpoint(SETTINGS, client())


def test_the_private_parts_that_are_overridden_exist() -> None:
    assert isinstance(OpenAI._tokenizer, property)
    assert inspect.iscoroutinefunction(inspect.unwrap(OpenAI._astream_chat))
    source = inspect.getsource(sys.modules[OpenAI.__module__])
    assert "astream_chat_fn = self._astream_chat" in source or "self._astream_chat(" in source
