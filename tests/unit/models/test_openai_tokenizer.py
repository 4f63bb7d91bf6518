"""The tokenizer of OpenAI's models: made offline, and equal to tiktoken's."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiktoken import Encoding
from tiktoken.load import load_tiktoken_bpe

from roost.tasks.errors import ModelError
from roost.tasks.models import openai_tokenizer
from roost.tasks.models.model import load_tokenizer, read_window
from roost.tasks.models.openai_tokenizer import CL100K_BASE, find_cl100k_base

TEXTS = [
    "On day 12345 the ship's bell wasn't heard, WE'VE read.\n\n\n  Two   spaces\t\tand tabs \r\n",
    "def f(x):\n    return {'a': [x, 1.5e-3]}  # ünïcödé — 漢字かな交じり文 🚢🌊 Ελληνικά",
    "https://example.org/a?b=c&d=%20#e " * 3,
    " " * 9 + "\n \n" + "x" * 100,
    "",
]


@pytest.mark.long
def test_it_counts_as_tiktoken_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # else it writes a copy
    spec = find_spec("llama_index.core")
    assert spec
    assert spec.origin
    ranks = load_tiktoken_bpe(str(Path(spec.origin).parent / openai_tokenizer._RANKS_FILE))
    theirs = Encoding(CL100K_BASE, pat_str=openai_tokenizer._PATTERN, mergeable_ranks=ranks, special_tokens={})
    folder = find_cl100k_base(str(tmp_path))
    ours = load_tokenizer(folder / "tokenizer.json")
    for text in TEXTS:
        assert ours.encode(text).ids == theirs.encode(text)
    assert (ours.num_special_tokens_to_add(is_pair=False), read_window(folder)) == (0, 8_191)
    assert json.loads((folder / "tokenizer_config.json").read_text())
    assert len(list(tmp_path.rglob("*"))) == 3
    monkeypatch.setattr(openai_tokenizer, "_make", None)
    assert find_cl100k_base(str(tmp_path)) == folder


def test_other_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_tokenizer, "_RANKS_FILE", "__init__.py")
    with pytest.raises(ModelError, match="reinstall it"):
        find_cl100k_base(str(tmp_path))
