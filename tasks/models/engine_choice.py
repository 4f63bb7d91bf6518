"""The choice of the engine that runs a model in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from roost.tasks.errors import ModelError
from roost.tasks.models.engine import Engine, Scorer
from roost.tasks.models.model import Model
from roost.tasks.models.openvino_engine import OpenVinoEngine, OpenVinoScorer
from roost.tasks.models.openvino_export import Kind, export_model
from roost.tasks.models.torch_engine import TorchEngine
from roost.tasks.models.torch_reranker import TorchReranker
from roost.tasks.settings import Embedding

T = TypeVar("T")

_log = logging.getLogger(__name__)


def load_engine(model: Model, settings: Embedding) -> Engine:
    """Load an embedding model into the engine that the settings name, or into the fastest one that is installed.

    Raises:
        ModelError: The engine is not installed, or the model does not load in it.
    """

    def in_openvino(folder: Path) -> Engine:
        return OpenVinoEngine(model, folder, threads=settings.threads)

    def in_torch() -> Engine:
        return TorchEngine(model, settings)

    return _load(model, settings, "embedding", in_openvino, in_torch)


def load_scorer(model: Model, settings: Embedding) -> Scorer:
    """Do the same as `load_engine` for a cross-encoder."""

    def in_openvino(folder: Path) -> Scorer:
        return OpenVinoScorer(model, folder, threads=settings.threads)

    def in_torch() -> Scorer:
        return TorchReranker(model, settings)

    return _load(model, settings, "reranker", in_openvino, in_torch)


def _load(
    model: Model, settings: Embedding, kind: Kind, in_openvino: Callable[[Path], T], in_torch: Callable[[], T]
) -> T:
    has_openvino = find_spec("openvino") is not None
    if model.is_openvino or settings.backend == "openvino":
        if not has_openvino:
            raise ModelError(f"model {model.name!r} needs OpenVINO: pip install 'roost[local]'")
        return in_openvino(model.folder if model.is_openvino else export_model(model, settings, kind))
    if settings.backend == "auto" and has_openvino and settings.device in ("", "cpu") and not _has_accelerator():
        try:
            return in_openvino(export_model(model, settings, kind))
        except ModelError as error:
            _log.warning("%s; PyTorch is used instead", error)
    return in_torch()


def _has_accelerator() -> bool:
    """Whether PyTorch has an accelerator. Importing PyTorch takes seconds: only where there may be one."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
