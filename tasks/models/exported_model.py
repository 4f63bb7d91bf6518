"""An exported model, compiled by OpenVINO for the CPU and run in as many streams as there are cores (`ExportedModel`).

The result of a text depends on the text alone, to the last bit, whatever texts share its call: each text is padded to
its own multiple of `LENGTH_STEP` tokens and called with texts of that length only. Few lengths also mean few shapes to
compile for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from roost.tasks.host_resources import cores
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import (
    FACTS_FILE,
    OPENVINO_FILE,
    Model,
    load_error,
    load_tokenizer,
    load_truncating_tokenizer,
)

#: What a model reads: a text, or two texts whose relation it scores.
ModelInput: TypeAlias = str | tuple[str, str]

#: Lengths are rounded up to a multiple of this, tokens: finer pads less and compiles more.
LENGTH_STEP = 16
#: Most padded tokens, and most texts, in one call: a core needs no more to be busy.
MAX_CALL_TOKENS, MAX_CALL_TEXTS = 1024, 32
#: Texts tokenized at a time, while the calls before them run.
TOKENIZED_AHEAD = 64


class ExportedModel:
    """Runs an exported model on the CPU."""

    def __init__(self, model: Model, folder: Path, *, threads: int = 0) -> None:
        """Load the exported model in `folder`, to run on `threads` cores; 0: all.

        Raises:
            ModelError: The model does not load.
        """
        import openvino

        try:
            facts = json.loads((folder / FACTS_FILE).read_text("utf-8"))
            core = openvino.Core()
            streams = threads or cores()
            options = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
            precision = {"INFERENCE_PRECISION_HINT": facts["precision"]} if facts["precision"] else {}
            compiled = core.compile_model(core.read_model(folder / OPENVINO_FILE), "CPU", options | precision)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise load_error(model, error) from None
        self._queue = openvino.AsyncInferQueue(compiled, streams + 1)
        self._inputs: list[str] = facts["inputs"]
        self._pad_id: int = facts["pad_id"]
        self._model = model
        self._tokenizer = load_tokenizer(model.tokenizer_file)

    def run(self, texts: Sequence[ModelInput]) -> np.ndarray:
        """Run the model on n texts or pairs of texts: (n, dim) float32, in their order."""
        results = np.empty((len(texts), self._model.dimension), dtype=np.float32)

        def keep(request: Any, rows: list[int]) -> None:
            results[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(keep)
        for first in range(0, len(texts), TOKENIZED_AHEAD):
            for rows, call in self._calls(texts, range(first, min(first + TOKENIZED_AHEAD, len(texts)))):
                self._queue.start_async(call, rows)  # waits while all streams are busy
        self._queue.wait_all()
        return results

    def _calls(
        self, texts: Sequence[ModelInput], rows: Sequence[int]
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Tokenize texts and group them by padded length."""
        encoded = self._encode([texts[row] for row in rows])
        alike: dict[int, list[tuple[int, Any]]] = defaultdict(list)
        for row, encoding in zip(rows, encoded, strict=True):
            length = min(-(-len(encoding) // LENGTH_STEP) * LENGTH_STEP, self._model.window)
            alike[length].append((row, encoding))
        for length, members in sorted(alike.items(), reverse=True):
            for call in cut_by_tokens([length] * len(members), MAX_CALL_TOKENS, MAX_CALL_TEXTS):
                part = members[call]
                yield [row for row, _ in part], self._padded([encoding for _, encoding in part], length)

    def _encode(self, texts: Sequence[ModelInput]) -> list[Any]:
        """Tokenize texts; those that exceed the window again, cut off at it."""
        encoded: list[Any] = self._tokenizer.encode_batch_fast(texts)
        for row, encoding in enumerate(encoded):
            if len(encoding) > self._model.window:
                [encoded[row]] = self._truncating.encode_batch_fast([texts[row]])
        return encoded

    @cached_property
    def _truncating(self) -> Any:
        """A tokenizer that cuts off at the window. To read another one takes 0.04 s, in which no other thread runs."""
        return load_truncating_tokenizer(self._model.tokenizer_file, self._model.window)

    def unpadded(self, text: str) -> dict[str, np.ndarray]:
        """Give the inputs of a call with one text, without padding."""
        [encoding] = self._encode([text])
        return self._padded([encoding], len(encoding))

    def _padded(self, encodings: Sequence[Any], length: int) -> dict[str, np.ndarray]:
        ids = np.full((len(encodings), length), self._pad_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            size = len(encoding)
            ids[row, :size], mask[row, :size], types[row, :size] = encoding.ids, 1, encoding.type_ids
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: values[name] for name in self._inputs}
