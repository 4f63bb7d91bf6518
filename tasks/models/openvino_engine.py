"""OpenVINO: a model exported once, kept in the user's cache, run in as many streams as there are cores.

A text's vector depends on the text alone, to the last bit, whatever shares its call: each text is padded to its own
multiple of STEP tokens and called with texts of that length only. Few lengths also mean few shapes to compile for.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from roost.tasks.errors import ModelError
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import (
    FACTS_FILE,
    OPENVINO_FILE,
    Model,
    does_not_load,
    load_tokenizer,
    quiet_libraries,
    shape_of,
)
from roost.tasks.settings import Embedding
from roost.tasks.workers import cores

#: Lengths are rounded up to a multiple of this, tokens: finer pads less and compiles more.
STEP = 16
#: Padded tokens in one call, and most texts: a core needs no more to be busy.
CALL_TOKENS, CALL_TEXTS = 1024, 32
#: Texts tokenized at a time, while the calls before them run.
AHEAD = 64
#: Least cosine between the vectors of an exported model and PyTorch's.
AGREES = 0.9999
#: Names of a model's inputs that are tokens.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_PROBES = (
    "a", "Milvus keeps vectors.", "THE SAME in Capitals, 3.14 % of them; naïve café, 東京 & Привет!",
    "What did the author do before college? " * 4, "one long passage with a few numbers: 1, 2 and 30,000. " * 40,
)  # fmt: skip


_log = logging.getLogger(__name__)


class OpenVinoEngine:
    """Runs a model's exported form on the CPU."""

    name = "openvino"

    def __init__(self, model: Model, folder: Path, *, threads: int = 0) -> None:
        """Load the exported form in `folder`, to run on so many cores; 0 for all.

        Raises:
            ModelError: It does not load.
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
            raise does_not_load(model, error) from None
        self._queue = openvino.AsyncInferQueue(compiled, streams + 1)
        self._inputs: list[str] = facts["inputs"]
        self._pad_id: int = facts["pad_id"]
        self._model = model
        self._tokenizer = load_tokenizer(model.tokenizer_file)
        self._tokenizer.enable_truncation(model.window)

    def passages(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Tokenized again: the padded length must be exact, and it costs 3 % of the embedding."""
        return self._embed([self._model.text_instruction + text for text in texts])

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """All in as few calls as their lengths allow."""
        return self._embed([self._model.query_instruction + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(texts), self._model.dimension), dtype=np.float32)

        def keep(request: Any, rows: list[int]) -> None:
            vectors[rows] = request.get_output_tensor(0).data

        self._queue.set_callback(keep)
        for first in range(0, len(texts), AHEAD):
            for rows, call in self._calls(texts, range(first, min(first + AHEAD, len(texts)))):
                self._queue.start_async(call, rows)  # waits while all streams are busy
        self._queue.wait_all()
        return vectors

    def _calls(self, texts: Sequence[str], rows: Sequence[int]) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Tokenize some texts and put those of one padded length together."""
        encoded = self._tokenizer.encode_batch_fast([texts[row] for row in rows])
        alike: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for row, encoding in zip(rows, encoded, strict=True):
            alike[min(-(-len(encoding.ids) // STEP) * STEP, self._model.window)].append((row, encoding.ids))
        for length, members in sorted(alike.items(), reverse=True):
            for call in cut_by_tokens([length] * len(members), CALL_TOKENS, CALL_TEXTS):
                part = members[call]
                yield [row for row, _ in part], self._padded([ids for _, ids in part], length)

    def unpadded(self, text: str) -> dict[str, np.ndarray]:
        """Make the call for one passage by itself, without padding."""
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


def exported(model: Model, settings: Embedding) -> Path:
    """Give the folder with the model's exported form; make it when it is not there.

    Raises:
        ModelError: It cannot be exported, or its vectors differ from PyTorch's.
    """
    import openvino

    root = Path(settings.cache).expanduser() if settings.cache else platformdirs.user_cache_path("roost")
    bf16 = "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    key = "-".join(
        (model.revision[:16], shape_of(model.folder), version("openvino"), version("sentence-transformers"), bf16)
    )
    folder = root / "openvino" / key
    if (folder / FACTS_FILE).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _export(model, made)
            made.rename(folder)
        except OSError:
            if not (folder / FACTS_FILE).is_file():  # else another process was first
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"the exported model cannot be kept in {folder}: {error} (ROOST_EMBEDDING__CACHE)") from None
    return folder


def quantized(model: Model, settings: Embedding, texts: Sequence[str], folder: Path) -> dict[str, Any]:
    """Make an int8 model from an exported one, calibrated on some texts: a folder to be named as a model of its own.

    Args:
        model: The model in full precision.
        settings: Where exported models are kept.
        texts: What it will have to embed; a few hundred are enough.
        folder: An empty or new folder.

    Returns:
        `texts`, and `cosine_mean` and `cosine_least` between both models' vectors of these texts.

    Raises:
        ModelError: The model cannot be exported, or nncf is not installed.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise ModelError(f"an int8 model needs the package {error.name}: pip install 'roost[local]'") from None
    nncf.set_log_level(logging.ERROR)
    source = exported(model, settings)
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
    cosines = (full.passages(texts, []) * small.passages(texts, [])).sum(axis=1)
    return {"texts": len(texts), "cosine_mean": float(cosines.mean()), "cosine_least": float(cosines.min())}


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / FACTS_FILE).write_text(json.dumps(facts), "utf-8")


def _copy_description(source: Path, folder: Path) -> None:
    """Copy what `find_model` reads: everything small, no weights."""
    for file in (*source.glob("*.json"), source / "1_Pooling" / "config.json"):
        if file.is_file():
            (folder / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file.relative_to(source))


def _export(model: Model, folder: Path) -> None:
    """Trace the model from token ids to vectors, and find the fastest precision in which it agrees with PyTorch."""
    import openvino
    import torch
    from sentence_transformers import SentenceTransformer

    _log.info("exporting %s to OpenVINO, once", model.name)
    quiet_libraries()
    try:
        reference = SentenceTransformer(str(model.folder), device="cpu").eval()
    except Exception as error:  # noqa: BLE001  torch, transformers and safetensors raise their own
        raise does_not_load(model, error) from None
    reference.max_seq_length = model.window
    features = {name: part for name, part in reference.preprocess(["a b c", "a"]).items() if name in _INPUTS}

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reference = reference

        def forward(self, *values: torch.Tensor) -> torch.Tensor:
            vectors = self.reference(dict(zip(features, values, strict=True)))["sentence_embedding"]
            return torch.nn.functional.normalize(vectors)

    inputs = [(openvino.PartialShape([-1, -1]), openvino.Type.i64)] * len(features)
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            graph = openvino.convert_model(Traced(), example_input=tuple(features.values()), input=inputs)
    except Exception as error:  # noqa: BLE001  whatever the tracer stumbles over
        words = " ".join(str(error).split())[:200]
        raise ModelError(f"model {model.name!r} cannot be exported to OpenVINO: {words}") from None
    for port, name in zip(graph.inputs, features, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)
    expected = reference.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
    facts = {"inputs": list(features), "pad_id": reference.tokenizer.pad_token_id or 0}
    for precision in ("", "f32"):
        _write_facts(folder, {**facts, "precision": precision})
        found = OpenVinoEngine(model, folder)._embed(_PROBES)
        least = float((found * expected).sum(axis=1).min())
        if least >= AGREES:
            _write_facts(folder, {**facts, "precision": precision, "cosine": least})
            return
    raise ModelError(f"model {model.name!r} exported to OpenVINO differs from PyTorch (cosine {least:.5f})")
