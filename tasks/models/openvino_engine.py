"""The engine OpenVINO: an exported embedding model, or an exported cross-encoder, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roost.tasks.models.exported_model import ExportedModel
from roost.tasks.models.model import Model


class OpenVinoEngine:
    """Embeds texts by an exported model."""

    name = "openvino"

    def __init__(self, model: Model, folder: Path, *, threads: int = 0) -> None:
        """Load the exported model in `folder`, to run on `threads` cores; 0: all.

        Raises:
            ModelError: The model does not load.
        """
        self._model = model
        self._exported = ExportedModel(model, folder, threads=threads)

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks. They are tokenized again: the padded length must be exact; it costs 3 % of the time."""
        return self._exported.run([self._model.text_instruction + text for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, in as few calls as their lengths allow."""
        return self._exported.run([self._model.query_instruction + text for text in texts])

    def unpadded(self, text: str) -> dict[str, np.ndarray]:
        """Give the inputs of a call with one chunk, without padding."""
        return self._exported.unpadded(self._model.text_instruction + text)


class OpenVinoScorer:
    """Scores pairs of texts by an exported cross-encoder."""

    name = "openvino"

    def __init__(self, model: Model, folder: Path, *, threads: int = 0) -> None:
        """Load the exported model in `folder`, to run on `threads` cores; 0: all.

        Raises:
            ModelError: The model does not load.
        """
        self._exported = ExportedModel(model, folder, threads=threads)

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Score n pairs of query and text: (n,) float32, a higher score is a better match."""
        return self._exported.run(pairs)[:, 0]
