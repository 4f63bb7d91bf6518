"""OpenVINO: an exported model, run in as many streams as there are cores.

A text's vector depends on the text alone, to the last bit, whatever texts share its call: each text is padded to its
own multiple of `LENGTH_STEP` tokens and called with texts of that length only. Few lengths also mean few shapes to
compile for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roost.tasks.host_resources import cores
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import FACTS_FILE, OPENVINO_FILE, Model, load_error, load_truncating_tokenizer

#: Lengths are rounded up to a multiple of this, tokens: finer pads less and compiles more.
LENGTH_STEP = 16
#: Most padded tokens, and most texts, in one call: a core needs no more to be busy.
MAX_CALL_TOKENS, MAX_CALL_TEXTS = 1024, 32
#: Texts tokenized at a time, while the calls before them run.
TOKENIZED_AHEAD = 64


class OpenVinoEngine:
    """Runs an exported model on the CPU."""

    name = "openvino"

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
        self._tokenizer = load_truncating_tokenizer(model.tokenizer_file, model.window)

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks. They are tokenized again: the padded length must be exact; it costs 3 % of the time."""
        return self.embed([self._model.text_instruction + text for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, in as few calls as their lengths allow."""
        return self.embed([self._model.query_instruction + text for text in texts])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as they are, without an instruction: (n, dim) float32, unit length."""
        vectors = np.empty((len(texts), self._model.dimension), dtype=np.float32)

        def keep(request: Any, rows: list[int]) -> None:
            vectors[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(keep)
        for first in range(0, len(texts), TOKENIZED_AHEAD):
            for rows, call in self._calls(texts, range(first, min(first + TOKENIZED_AHEAD, len(texts)))):
                self._queue.start_async(call, rows)  # waits while all streams are busy
        self._queue.wait_all()
        return vectors

    def _calls(self, texts: Sequence[str], rows: Sequence[int]) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Tokenize texts and group them by padded length."""
        encoded = self._tokenizer.encode_batch_fast([texts[row] for row in rows])
        alike: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for row, encoding in zip(rows, encoded, strict=True):
            alike[min(-(-len(encoding.ids) // LENGTH_STEP) * LENGTH_STEP, self._model.window)].append(
                (row, encoding.ids)
            )
        for length, members in sorted(alike.items(), reverse=True):
            for call in cut_by_tokens([length] * len(members), MAX_CALL_TOKENS, MAX_CALL_TEXTS):
                part = members[call]
                yield [row for row, _ in part], self._padded([ids for _, ids in part], length)

    def unpadded(self, text: str) -> dict[str, np.ndarray]:
        """Give the inputs of a call with one chunk, without padding."""
        ids = self._tokenizer.encode(self._model.text_instruction + text).ids
        return self._padded([ids], len(ids))

    def _padded(self, rows: list[list[int]], length: int) -> dict[str, np.ndarray]:
        ids = np.full((len(rows), length), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        values = {"input_ids": ids, "attention_mask": mask}
        return {name: values.get(name, np.zeros_like(ids)) for name in self._inputs}
