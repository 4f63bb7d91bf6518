"""Export of a model to OpenVINO, once, kept in the user's cache; and int8 models made of exported ones."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import platformdirs

from roost.tasks.errors import ModelError
from roost.tasks.models.agreement import MIN_AGREEMENT
from roost.tasks.models.exported_model import ExportedModel
from roost.tasks.models.model import FACTS_FILE, OPENVINO_FILE, Model, digest_configuration
from roost.tasks.models.openvino_engine import OpenVinoEngine
from roost.tasks.models.openvino_references import embedding_reference, reranker_reference
from roost.tasks.settings import Embedding

#: Times that an int8 model and the full one embed the same texts to compare their speed; the best time counts.
TIMED_ROUNDS = 3

Kind: TypeAlias = Literal["embedding", "reranker"]

_log = logging.getLogger(__name__)


class Comparison(NamedTuple):
    """An int8 model beside the full one, over a number of texts.

    mean, least: Cosine between both models' vectors of a text: the mean and the minimum.
    speedup: Time of the full model by time of the int8 model, on this machine.
    """

    texts: int
    mean: float
    least: float
    speedup: float


def export_model(model: Model, settings: Embedding, kind: Kind = "embedding") -> Path:
    """Give the folder with the exported model; export it when there is none.

    Raises:
        ModelError: The model cannot be exported, or its results differ from PyTorch's.
    """
    import openvino

    root = Path(settings.cache).expanduser() if settings.cache else platformdirs.user_cache_path("roost")
    bf16 = "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    key = "-".join(
        (
            model.revision[:16],
            digest_configuration(model.folder),
            version("openvino"),
            version("sentence-transformers"),
            bf16,
        )
    )
    folder = root / "openvino" / (key if kind == "embedding" else f"{kind}-{key}")
    if (folder / FACTS_FILE).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _export(model, kind, made)
            made.rename(folder)
        except OSError:
            if not (folder / FACTS_FILE).is_file():  # else another process was first
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"the exported model cannot be kept in {folder}: {error} (ROOST_EMBEDDING__CACHE)") from None
    return folder


def quantize_model(model: Model, settings: Embedding, texts: Sequence[str], folder: Path) -> Comparison:
    """Make an int8 model of an exported one, calibrated on texts; its folder can be set as a model of its own.

    Args:
        model: The model in full precision.
        settings: Where exported models are kept.
        texts: Texts like those that it will embed; a few hundred are enough.
        folder: An empty or new folder.

    Raises:
        ModelError: The model cannot be exported, or nncf is not installed.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise ModelError(f"an int8 model needs the package {error.name}: pip install 'roost[local]'") from None
    nncf.set_log_level(logging.ERROR)
    source = export_model(model, settings)
    full = OpenVinoEngine(model, source)
    calls = [full.unpadded(text) for text in texts]  # padding would stretch the ranges that are measured
    with contextlib.redirect_stdout(sys.stderr):  # its bars
        graph = nncf.quantize(
            openvino.Core().read_model(source / OPENVINO_FILE),
            nncf.Dataset(calls),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calls),
            # Attention stays as it is: with its inputs in int8, padding is no longer masked.
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
        )
    folder.mkdir(parents=True, exist_ok=True)
    _copy_description(model.folder, folder)
    openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)
    shutil.copy(source / FACTS_FILE, folder)
    small = OpenVinoEngine(replace(model, folder=folder), folder)
    return _compare(full, small, texts)


def _compare(full: OpenVinoEngine, small: OpenVinoEngine, texts: Sequence[str]) -> Comparison:
    """Embed texts by both, in turns; the first time, which compiles, is not timed."""
    cosines = (full.embed_chunks(texts, []) * small.embed_chunks(texts, [])).sum(axis=1)
    seconds: dict[OpenVinoEngine, list[float]] = {full: [], small: []}
    for engine in TIMED_ROUNDS * [full, small]:
        started = time.perf_counter()
        engine.embed_chunks(texts, [])
        seconds[engine].append(time.perf_counter() - started)
    speedup = min(seconds[full]) / min(seconds[small])
    return Comparison(len(texts), float(cosines.mean()), float(cosines.min()), speedup)


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / FACTS_FILE).write_text(json.dumps(facts), "utf-8")


def _copy_description(source: Path, folder: Path) -> None:
    """Copy the small files that `find_model` reads, without the weights."""
    for file in (*source.glob("*.json"), source / "1_Pooling" / "config.json"):
        if file.is_file():
            (folder / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file.relative_to(source))


def _export(model: Model, kind: Kind, folder: Path) -> None:
    """Trace the model from token ids to its results, and find the fastest precision that agrees with PyTorch."""
    _log.info("exporting the model %s to OpenVINO: once, about ten seconds", model.name)
    import openvino
    import torch

    reference = (embedding_reference if kind == "embedding" else reranker_reference)(model)
    inputs = [(openvino.PartialShape([-1, -1]), openvino.Type.i64)] * len(reference.inputs)
    example = tuple(reference.inputs.values())
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            graph = openvino.convert_model(reference.module, example_input=example, input=inputs)
    except Exception as error:  # noqa: BLE001  the tracer raises many kinds
        message = " ".join(str(error).split())[:200]
        raise ModelError(f"model {model.name!r} cannot be exported to OpenVINO: {message}") from None
    for port, name in zip(graph.inputs, reference.inputs, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)
    facts = {"inputs": list(reference.inputs), "pad_id": reference.pad_id}
    for precision in ("", "f32"):
        _write_facts(folder, {**facts, "precision": precision})
        agreement = reference.agreement(ExportedModel(model, folder).run(reference.probes), reference.expected)
        if agreement >= MIN_AGREEMENT:
            _write_facts(folder, {**facts, "precision": precision, "agreement": agreement})
            return
    raise ModelError(f"model {model.name!r} exported to OpenVINO differs from PyTorch (agreement {agreement:.5f})")
