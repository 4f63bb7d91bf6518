"""The splitters of llama-index, by sentences and by headings; for worker processes.

They are imported from their modules, not from their package, and made with a manager of events that does nothing: else
llama-index imports all of itself (see `worker_imports`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from inspect import unwrap
from typing import Any

from roost.tasks.steps.token_count import count_tokens

#: Put between the headings of a path; unlike `/` it is in no heading.
PATH_SEPARATOR = "\x1f"


@lru_cache(maxsize=128)  # with contexts, one size for each length of a context
def sentence_splitter(size: int, overlap: int, tokenizer_file: str) -> Callable[[str], list[str]]:
    """Give the function that splits a text by sentences, without the tracing that llama-index puts around it.

    Args:
        size: Longest piece, tokens.
        overlap: Tokens that neighbours share at most.
        tokenizer_file: `tokenizer.json` of the model that counts the tokens.
    """
    from llama_index.core.node_parser.text.sentence import SentenceSplitter

    def tokens(text: str) -> Any:
        return range(count_tokens(text, tokenizer_file))  # only its length is used

    splitter = SentenceSplitter(
        chunk_size=size, chunk_overlap=overlap, tokenizer=tokens, callback_manager=_callback_manager()
    )
    return partial(unwrap(SentenceSplitter.split_text), splitter)


def split_headings(markdown: str) -> Iterator[tuple[str, str]]:
    """Split Markdown along its headings: text of each section, and the headings above it, `PATH_SEPARATOR` between."""
    from llama_index.core.schema import Document

    for node in _markdown_parser().get_nodes_from_node(Document(text=markdown)):
        yield node.get_content(), str(node.metadata.get("header_path", ""))


@cache
def _markdown_parser() -> Any:
    from llama_index.core.node_parser.file.markdown import MarkdownNodeParser

    return MarkdownNodeParser(header_path_separator=PATH_SEPARATOR, callback_manager=_callback_manager())


@cache
def _callback_manager() -> Any:
    """Make a manager without handlers. Its constructor looks for a global handler, which imports all of llama-index."""
    from llama_index.core.callbacks.base import CallbackManager

    class NoCallbacks(CallbackManager):
        def __init__(self) -> None:
            self.handlers: list[Any] = []
            self._trace_map: dict[str, list[str]] = defaultdict(list)

    return NoCallbacks()
