"""Answers: without a hit no model is asked, and no message contains a part of the key."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import SecretStr

from roost.tasks.errors import TransientError, UsageError
from roost.tasks.models.endpoint_errors import CalledEndpoint
from roost.tasks.search import answer
from roost.tasks.search.hits import Hit
from roost.tasks.settings import LLM

KEY = "sk-very-secret-key"
LONG = Hit(1, 1.0, "a.md", "docs", None, "", "some words " * 2000, "d", "1")


@pytest.mark.parametrize(
    ("hits", "says"),
    [
        ([], "no chunk was found"),
        ([LONG], r"no hit fits the budget of 600 tokens \(ROOST_LLM__"),
    ],
)
def test_without_a_hit_no_model_is_asked(hits, says):
    with pytest.raises(UsageError, match=says):
        answer.within_budget("Who?", hits, LLM(context_tokens=600))


def test_our_own_type_error_is_not_blamed_on_the_language_model(monkeypatch):
    settings = LLM(base_url="http://127.0.0.1:1/v1", model="m")
    with pytest.raises(TypeError), answer._endpoint_errors(settings):
        answer.within_budget("Who?", None, settings)
    with pytest.raises(TransientError, match="something other than a chat"), answer._endpoint_errors(settings):
        len(None)  # as the libraries do with an answer that they do not expect
    monkeypatch.setattr(answer, "_quoted_node", lambda *_: len(None))
    with pytest.raises(TypeError):
        asyncio.run(answer.answer_from("Who?", [replace(LONG, text="x")], settings, print))


@pytest.mark.parametrize("before", range(180, 201, 4))
def test_a_key_is_masked_before_its_end_is_cut_off(before):
    called = CalledEndpoint("the model", "ROOST_LLM", "m", SecretStr(KEY), 1.0)
    said = called.detail(ValueError("x" * before + KEY))
    assert "sk-" not in said
    assert len(said) <= 200
