"""Count of a text's tokens; for worker processes.

Cutting counts each character some three times: in its text block, in its sentence, in its chunk. A tokenizer as BERT's
never makes a token across a space, so that the count of a text is the sum of the counts of its words, and these repeat.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from roost.tasks.models.model import load_tokenizer

#: Words whose count is remembered, at most some 15 MB; longer words are counted each time.
MAX_WORDS, MAX_WORD_CHARACTERS = 50_000, 200

#: What BERT's tokenizer treats as a space. It drops other characters that `str.split` takes for one.
_SPACES = str.maketrans("\t\n\r", "   ")


@lru_cache(maxsize=1024)  # a text is counted by the splitter, and again as the piece that it gives
def count_tokens(text: str, tokenizer_file: str) -> int:
    """Count a text's tokens, without the model's special ones."""
    return _counter(tokenizer_file).count(text)


@lru_cache(maxsize=2)
def _counter(file: str) -> _Counter:
    """Load a model's `tokenizer.json`, once in a process."""
    return _Counter(load_tokenizer(Path(file)))


class _Counter:
    """Counts tokens, word by word where the tokenizer allows it."""

    def __init__(self, tokenizer: Any) -> None:
        self._counts = _WordCounts(tokenizer)
        self._is_by_word = ends_tokens_at_spaces(tokenizer)

    def count(self, text: str) -> int:
        if not self._is_by_word:
            return self._counts.count(text)
        if len(self._counts) > MAX_WORDS:
            self._counts.clear()
        return sum(map(self._counts.__getitem__, text.translate(_SPACES).split(" ")))


class _WordCounts(dict[str, int]):
    """Count of tokens by word; a word that is not remembered is counted."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def __missing__(self, word: str) -> int:
        count = self.count(word)
        if len(word) <= MAX_WORD_CHARACTERS:
            self[word] = count
        return count


def ends_tokens_at_spaces(tokenizer: Any) -> bool:
    """Whether no token of this tokenizer contains a space or depends on what is beyond one, as with BERT's."""
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    added = (token.content for token in tokenizer.get_added_tokens_decoder().values())
    is_bert = [type(part).__name__ for part in parts] == ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
    return is_bert and not any(character.isspace() for content in added for character in content)
