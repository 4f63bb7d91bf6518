"""Sizes of chunks (`CutSizes`)."""

from __future__ import annotations

from typing import NamedTuple

from roost.tasks.models.embedded_texts import CONTEXT_END
from roost.tasks.steps.token_count import count_tokens


class CutSizes(NamedTuple):
    """Sizes of chunks.

    size: Longest chunk, tokens; 0: each document is one chunk.
    overlap: Tokens that neighbours share at most.
    tokenizer_file: `tokenizer.json` of the model that counts the tokens.
    has_context: Whether title and headings are embedded before each chunk; they count as part of its size.
    """

    size: int
    overlap: int
    tokenizer_file: str
    has_context: bool = False

    def without(self, context: str) -> CutSizes:
        """Give the sizes of chunks that leave room for a context."""
        used = count_tokens(context + CONTEXT_END, self.tokenizer_file) if context else 0
        return self._replace(size=self.size - used, overlap=min(self.overlap, (self.size - used) // 2))
