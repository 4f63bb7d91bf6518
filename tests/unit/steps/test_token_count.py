"""Tokens are counted word by word only where this gives what the tokenizer gives for the whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.stand_ins import made_model
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece

from roost.tasks.models.model import load_tokenizer
from roost.tasks.steps.token_count import MAX_WORD_CHARACTERS, _counter, count_tokens

FILE = str(made_model().tokenizer_file)
PIECES = [
    "a",
    "word",
    "the",
    "##e",
    "[CLS]",
    "[UNK]",
    "'s",
    "1,234",
    "\u0301",
    "\x1c",
    "\x0b",
    "\x85",
    "\u2028",
    "漢字",
    "ß",
]
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b"]
TEXTS = st.lists(st.sampled_from([*PIECES, *SPACES]) | st.text(max_size=5), max_size=30).map("".join)


@given(TEXTS)
@example("the\x1cword")  # not a space: BERT's tokenizer drops it
@example("word \u0301the")
@example("x" * (MAX_WORD_CHARACTERS + 1) + " x")
def test_a_text_has_the_tokens_of_the_whole(text: str) -> None:
    assert count_tokens(text, FILE) == len(load_tokenizer(Path(FILE)).encode(text, add_special_tokens=False))


def test_no_more_words_are_remembered_than_the_limit_and_those_of_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.steps.token_count.MAX_WORDS", 3)
    counter = _counter(FILE)
    for number in range(20):
        assert counter.count(f"truth {number} of many") == 3 + len(str(number))
        assert len(counter._counts) <= 3 + 4


def _without_a_normalizer() -> Any:
    """A BPE tokenizer with a token that contains a space, as those of languages without spaces."""
    vocabulary = {"a": 0, "b": 1, " ": 2, "a ": 3, "a b": 4}
    return Tokenizer(BPE(vocabulary, [("a", " "), ("a ", "b")]))


def _with_an_added_token() -> Any:
    """BERT's tokenizer with a token of the user's own that contains a space."""
    tokenizer = Tokenizer(WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.add_tokens(["a b"])
    return tokenizer


@pytest.mark.parametrize("make", [_without_a_normalizer, _with_an_added_token])
def test_a_token_that_contains_a_space_is_counted_once(make: Any, tmp_path: Path) -> None:
    (made := make()).save(str(file := tmp_path / "tokenizer.json"))
    assert len(made.encode("a b")) == 1
    assert count_tokens("a b", str(file)) == 1
