"""Engines: the same vectors from each, exported once, and a clear word where one cannot serve."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT

from roost.tasks.errors import ModelError
from roost.tasks.models import agreement, engine_choice, openvino_export
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.engine_choice import load_engine
from roost.tasks.models.model import Model, find_model
from roost.tasks.models.openvino_engine import OpenVinoEngine
from roost.tasks.models.openvino_export import export_model, quantize_model
from roost.tasks.models.torch_engine import TorchEngine
from roost.tasks.settings import Embedding

TEXTS = [
    "Trains run late. " * 25,
    "a passage of MIDDLE length, with 3 numbers: 1, 20 and 300",
    "naïve 東京",
    "ships",
    "",
]
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Model]:
    """Make a small model with random weights: `tiny("roberta", pooling="cls")`."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    def make(architecture: str = "bert", *, pooling: str = "mean", **prompts: str) -> Model:
        torch.manual_seed(7)
        tokenizer = AutoTokenizer.from_pretrained(find_model(Embedding()).folder)
        sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 130, "pad_token_id": tokenizer.pad_token_id}
        weights = tmp_path / "weights"
        AutoModel.from_config(AutoConfig.for_model(architecture, **TINY, **sizes)).save_pretrained(weights)
        tokenizer.save_pretrained(weights)
        whole = SentenceTransformer(
            modules=[Transformer(str(weights), max_seq_length=120), Pooling(32, pooling_mode=pooling)], prompts=prompts
        )
        whole.save(str(tmp_path / "tiny"))
        return find_model(Embedding(model=str(tmp_path / "tiny")))

    return make


def test_openvino_is_taken_by_itself_and_agrees_with_pytorch() -> None:
    settings = Embedding(device="cpu")
    model = find_model(settings)
    engine, torch = load_engine(model, settings), TorchEngine(model, settings)
    assert engine.name == "openvino"
    for found, expected in (
        (engine.embed_chunks(TEXTS, [1] * 5), torch.embed_chunks(TEXTS, [1] * 5)),
        (engine.embed_queries(TEXTS), torch.embed_queries(TEXTS)),
    ):
        assert found.shape == (5, 384)
        assert found.dtype == np.float32
        assert (found * expected).sum(axis=1).min() >= agreement.MIN_AGREEMENT


def test_a_text_has_the_same_vector_to_the_last_bit_whatever_shares_its_call() -> None:
    settings = Embedding()
    model = find_model(settings)
    engine = OpenVinoEngine(model, export_model(model, settings))
    texts = [("word " * length).strip() for length in (1, 3, 14, 15, 16, 17, 100, 101, 102, 103, 104, 250, 300)]
    together = engine.embed_chunks(texts * 7, [0] * 7 * len(texts))
    assert np.array_equal(together[: len(texts)], together[-len(texts) :])
    for row, text in enumerate(texts):
        assert np.array_equal(engine.embed_chunks([text], [0])[0], together[row])


@pytest.mark.long
@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [
        ("bert", "cls"),
        ("mpnet", "mean"),
        ("roberta", "mean"),
        ("electra", "max"),
    ],
)
def test_other_architectures_and_poolings_are_exported_too(
    tiny: Callable[..., Model], tmp_path: Path, architecture: str, pooling: str
) -> None:
    model = tiny(architecture, pooling=pooling, query="search: ", document="passage: ")
    settings = Embedding(backend="openvino", cache=str(tmp_path / "cache"))
    found, expected = load_engine(model, settings), TorchEngine(model, settings)
    assert (found.embed_chunks(TEXTS, [1] * 5) * expected.embed_chunks(TEXTS, [1] * 5)).sum(axis=1).min() >= 0.9999
    assert (found.embed_queries(TEXTS) * expected.embed_queries(TEXTS)).sum(axis=1).min() >= 0.9999
    facts = json.loads(next((tmp_path / "cache").rglob("roost.json")).read_text())
    assert facts["agreement"] >= agreement.MIN_AGREEMENT


def test_a_model_is_exported_once_and_loads_without_pytorch_then(cache: Path) -> None:
    code = (
        "import sys; from roost.tasks.models.embedder import load_engine;"
        "from roost.tasks.models.model import find_model;"
        "from roost.tasks.settings import Embedding; s = Embedding(backend='openvino', cache=sys.argv[1]);"
        "load_engine(find_model(s), s); print('torch' in sys.modules)"
    )
    settings = Embedding(backend="openvino", cache=str(cache / "roost"))
    exported = export_model(find_model(settings), settings)
    times = {file: file.stat().st_mtime_ns for file in exported.iterdir()}
    command = [sys.executable, "-c", code, settings.cache]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "False"
    assert {file: file.stat().st_mtime_ns for file in exported.iterdir()} == times
    assert [path.name for path in exported.parent.iterdir() if path.name.startswith("tmp")] == []


@pytest.mark.long
def test_of_two_that_export_at_once_the_second_takes_what_the_first_made(
    tiny: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = tiny(), Embedding(backend="openvino", cache=str(tmp_path / "cache"))
    export = openvino_export._export

    def and_another_meanwhile(model: Model, _: str, folder: Path) -> None:
        monkeypatch.setattr(openvino_export, "_export", export)
        shutil.copytree(export_model(model, settings), folder, dirs_exist_ok=True)

    monkeypatch.setattr(openvino_export, "_export", and_another_meanwhile)
    assert load_engine(model, settings).name == "openvino"
    assert len(list((tmp_path / "cache" / "openvino").iterdir())) == 1


def test_a_model_that_differs_when_exported_runs_in_pytorch_and_says_so(
    tiny: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny()
    monkeypatch.setattr(openvino_export, "MIN_AGREEMENT", 1.1)
    with caplog.at_level(logging.WARNING):
        assert load_engine(model, Embedding(cache=str(tmp_path / "cache"))).name == "torch"
    assert "differs from PyTorch (agreement 1.0" in caplog.text
    assert list((tmp_path / "cache" / "openvino").iterdir()) == []
    with pytest.raises(ModelError, match="differs from PyTorch"):
        load_engine(model, Embedding(backend="openvino", cache=str(tmp_path / "cache")))


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = Embedding(backend="openvino", cache=str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"kept in .*file.*ROOST_EMBEDDING__CACHE"):
        load_engine(find_model(settings), settings)


def test_without_openvino_pytorch_runs_and_who_asks_for_openvino_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    settings = Embedding()
    assert load_engine(find_model(settings), settings).name == "torch"
    with pytest.raises(ModelError, match=r"roost\[local\]"):
        load_engine(find_model(settings), Embedding(backend="openvino"))


@pytest.mark.long
def test_a_device_that_openvino_does_not_serve_leaves_the_choice_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "_has_accelerator", lambda: True)
    settings = Embedding()
    assert load_engine(find_model(settings), settings).name == "torch"


def test_a_damaged_export_is_refused_in_one_line(tiny: Callable[..., Model], tmp_path: Path) -> None:
    model, settings = tiny(), Embedding(backend="openvino", cache=str(tmp_path / "cache"))
    (export_model(model, settings) / "openvino_model.xml").write_text("<net/>")
    with pytest.raises(ModelError, match="does not load") as caught:
        load_engine(model, settings)
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_an_int8_model_is_one_of_its_own_and_masks_its_padding(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra `local` contains nncf")
    model, settings = find_model(Embedding()), Embedding()
    words = (ROOT / "README.md").read_text("utf-8").split()
    texts = [" ".join(words[first : first + 70]) for first in range(0, 1680, 70)]
    made = quantize_model(model, settings, texts, tmp_path / "int8")
    small = find_model(Embedding(model=str(tmp_path / "int8")))
    assert made.texts == len(texts)
    assert (small.is_openvino, small.dimension, small.revision == model.revision) == (True, model.dimension, False)
    full, quick = load_engine(model, settings), load_engine(small, settings)
    short = [" ".join(words[length : 2 * length]) for length in range(1, 40)]  # every share of padding there is
    cosines = (full.embed_chunks(short, []) * quick.embed_chunks(short, [])).sum(axis=1)
    assert cosines.min() > 0.95


async def test_each_text_gets_its_own_unit_vector_whatever_shares_its_call() -> None:
    settings = Embedding(tokens_per_call=64)
    texts = ["trains", "a much longer sentence about ships " * 6, "", "trains", "日本語", "short one"]
    with Embedder(find_model(settings), settings) as embedder:
        tokens = [len(text.split()) + 2 for text in texts]
        together = (await embedder.embed_chunks(texts, tokens)).values
        alone = np.concatenate([(await embedder.embed_chunks([text], [9])).values for text in texts])
        none = (await embedder.embed_chunks([], [])).values
        query = await embedder.embed_queries(["trains"])
    assert together.shape == (6, 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[0], together[3], atol=1e-6)
    np.testing.assert_allclose(query[0], together[0], atol=1e-5)
    assert none.shape == (0, 384)


@pytest.mark.long
async def test_a_model_whose_weights_do_not_load_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("model")
    real = find_model(Embedding()).folder
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (real / name).is_file():
            (folder / name).write_bytes((real / name).read_bytes())
    (folder / "model.safetensors").write_bytes(b"these are no weights")
    settings = Embedding(model=str(folder))
    with Embedder(find_model(settings), settings) as embedder, pytest.raises(ModelError) as caught:
        await embedder.load()
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
