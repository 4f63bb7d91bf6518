"""Answering: nothing is asked without passages, and no part of a key is told."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tasks import answer
from tasks.errors import UsageError
from tasks.retrieved import Passage
from tasks.settings import LLM

KEY = "sk-very-secret-key"


@pytest.mark.parametrize(
    ("passages", "says"),
    [
        ([], "no passage was found"),
        ([Passage("1", "a.md", "some words " * 2000, 1.0)], r"no passage fits the budget of 600 tokens \(ROOST_LLM__"),
    ],
)
def test_without_a_passage_no_model_is_asked(passages, says):
    with pytest.raises(UsageError, match=says):
        answer.within_budget("Who?", passages, LLM(context_tokens=600))


@pytest.mark.parametrize("before", range(180, 201, 4))
def test_a_key_is_masked_before_its_end_is_cut_off(before):
    said = answer._words(ValueError("x" * before + KEY), SecretStr(KEY))
    assert "sk-" not in said
    assert len(said) <= 200
