"""Models: where their files are found, what is read from them, and what is refused before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ROOT

from roost.tasks.errors import ModelError
from roost.tasks.models import model
from roost.tasks.models.model import CARRIED, INSTRUCTIONS, find_model, load_tokenizer
from roost.tasks.settings import Embedding

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"

Maker = Callable[..., Path]


@pytest.fixture
def model_folder(tmp_path: Path) -> Maker:
    """Make a tiny model folder: a real tokenizer, weights that are none. A file given as None is left out."""
    tokenizer = find_model(Embedding()).tokenizer_file.read_bytes()

    def make(name: str = "tiny", /, **files: str | bytes | None) -> Path:
        config = json.dumps({"hidden_size": 8, "max_position_embeddings": 512})
        whole = {"model.safetensors": b"tiny weights", "config.json": config, "tokenizer.json": tokenizer} | files
        for path, content in whole.items():
            if content is not None:
                file = tmp_path / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return make


def refusal(model: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(Embedding(model=str(model)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# the default model


def test_the_default_model_comes_from_its_package_with_what_its_card_says() -> None:
    model = find_model(Embedding())
    assert (model.name, model.dimension, model.window, model.special_tokens) == (DEFAULT, 384, 256, 2)
    assert (model.query_instruction, model.text_instruction) == ("", "")
    assert model.revision == CARRIED[DEFAULT][2][:16]


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch, model_folder: Maker, tmp_path: Path) -> Path:
    """An installed package that says it carries the default model: the folder of the model in it."""
    folder = model_folder("fake_minilm/inner")
    (tmp_path / "fake_minilm" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    digest = hashlib.sha256(b"tiny weights").hexdigest()
    monkeypatch.setattr(model, "CARRIED", {DEFAULT: ("fake_minilm", "inner", digest)})
    return folder


def test_weights_with_the_published_sha_256_are_taken(fake_package: Path) -> None:
    model = find_model(Embedding())
    assert model.folder == fake_package
    assert model.revision == hashlib.sha256(b"tiny weights").hexdigest()[:16]


def test_weights_with_another_sha_256_are_refused_and_both_are_named(fake_package: Path) -> None:
    (fake_package / "model.safetensors").write_bytes(b"tampered weights")
    said = refusal(DEFAULT)
    assert hashlib.sha256(b"tampered weights").hexdigest()[:16] in said
    assert hashlib.sha256(b"tiny weights").hexdigest()[:16] in said
    assert "fake_minilm" in said


# folders


def test_a_folder_is_a_model_named_by_its_weights_and_what_is_done_with_them(model_folder: Maker) -> None:
    folder = model_folder()
    model = find_model(Embedding(model=str(folder)))
    assert (model.dimension, model.window, model.special_tokens) == (8, 512, 2)
    assert model.revision.startswith(hashlib.sha256(b"tiny weights").hexdigest()[:16])
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    pooled = find_model(Embedding(model=str(folder))).revision
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert len({model.revision, pooled, find_model(Embedding(model=str(folder))).revision}) == 3


def test_what_sentence_transformers_adds_to_a_folder_goes_before_the_bare_configuration(model_folder: Maker) -> None:
    folder = model_folder(
        **{
            "sentence_bert_config.json": '{"max_seq_length": 128}',
            "1_Pooling/config.json": '{"word_embedding_dimension": 4}',
            "config_sentence_transformers.json": '{"prompts": {"query": "q: ", "document": "d: "}}',
        }
    )
    model = find_model(Embedding(model=str(folder)))
    assert (model.window, model.dimension) == (128, 4)
    assert (model.query_instruction, model.text_instruction) == ("q: ", "d: ")


def test_what_newer_sentence_transformers_write_is_read_too(model_folder: Maker) -> None:
    folder = model_folder(
        **{
            "sentence_bert_config.json": '{"transformer_task": "feature-extraction"}',
            "tokenizer_config.json": '{"model_max_length": 120}',
            "1_Pooling/config.json": '{"embedding_dimension": 4}',
        }
    )
    model = find_model(Embedding(model=str(folder)))
    assert (model.window, model.dimension) == (120, 4)


@pytest.mark.parametrize("prompts", ["{}", "null", '{"query": "", "document": ""}', '{"query": null}'])
def test_prompts_that_say_nothing_are_none(model_folder: Maker, prompts: str) -> None:
    folder = model_folder(**{"config_sentence_transformers.json": f'{{"prompts": {prompts}}}'})
    model = find_model(Embedding(model=str(folder)))
    assert (model.query_instruction, model.text_instruction) == ("", "")


def test_instructions_that_are_set_win_even_when_they_are_empty(model_folder: Maker) -> None:
    folder = model_folder(**{"config_sentence_transformers.json": '{"prompts": {"query": "q: ", "passage": "p: "}}'})
    model = find_model(Embedding(model=str(folder), query_instruction="", text_instruction="mine: "))
    assert (model.query_instruction, model.text_instruction) == ("", "mine: ")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"model.safetensors": None}, "is not a model folder: it holds none of model.safetensors, pytorch_model.bin"),
        ({"tokenizer.json": None}, "has no tokenizer.json"),
        ({"config.json": None}, "state"),
        ({"config.json": '{"hidden_size": 8}'}, "no max_seq_length, model_max_length or max_position"),
        ({"config.json": '{"max_position_embeddings": 8}'}, "states the vectors' size"),
        ({"config.json": "{ no json"}, "config.json"),
        ({"config.json": b'{"name": "\xe9"}'}, "config.json"),
        ({"config.json": "[1, 2]"}, "config.json"),
        ({"tokenizer.json": "{ no json"}, "tokenizer.json"),
        ({"tokenizer.json": '{"version": "1.0"}'}, "tokenizer.json"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_in_one_line_that_names_it(
    model_folder: Maker, missing: dict[str, str | bytes | None], words: str
) -> None:
    folder = model_folder(**missing)
    said = refusal(folder)
    assert words in said
    assert str(folder) in said


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    assert "is not a model folder" in refusal(tmp_path)


# the hub


@pytest.mark.parametrize("offline", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_an_unknown_model_without_the_hub_is_refused_quickly_in_one_line(
    tmp_path: Path, offline: dict[str, str]
) -> None:
    program = (
        "from roost.tasks.models.model import find_model, Embedding, ModelError\n"
        "try: find_model(Embedding(model='nobody/no-such-model'))\n"
        "except ModelError as error: print(error)\n"
    )
    environment = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")} | offline
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert time.monotonic() - started < 20
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1, done.stdout
    assert lines[0].startswith("model 'nobody/no-such-model' is not here and the hub cannot be reached (")
    assert "ROOST_EMBEDDING__MODEL" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["../elsewhere", "a b", "/nowhere/model", "a/b/c"])
def test_a_name_that_no_model_can_have_is_refused_without_asking_the_hub(name: str) -> None:
    assert refusal(name).startswith(f"no model '{name}': neither a folder here nor on the hub (")


def test_a_model_that_the_hub_gave_before_is_found_without_it(model_folder: Maker, tmp_path: Path) -> None:
    commit = "a" * 40
    model_folder(f"hub/models--some--model/snapshots/{commit}")
    (tmp_path / "hub" / "models--some--model" / "refs").mkdir()
    (tmp_path / "hub" / "models--some--model" / "refs" / "main").write_text(commit)
    program = (
        "from roost.tasks.models.model import find_model, Embedding\n"
        "model = find_model(Embedding(model='some/model'))\n"
        "print(model.revision, model.dimension, model.window)\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == [commit, "8", "512"]


# instructions


def test_bge_gets_the_query_instruction_of_its_card_and_none_for_passages(model_folder: Maker) -> None:
    model_folder("BAAI/bge-base-en-v1.5")
    model = find_model(Embedding(model="BAAI/bge-base-en-v1.5"))
    assert model.query_instruction == "Represent this sentence for searching relevant passages: "
    assert model.text_instruction == ""


def test_e5_gets_both_instructions_of_its_card(model_folder: Maker) -> None:
    model_folder("intfloat/e5-small-v2")
    model = find_model(Embedding(model="intfloat/e5-small-v2"))
    assert (model.query_instruction, model.text_instruction) == ("query: ", "passage: ")


def test_a_model_saved_with_empty_prompts_keeps_the_instruction_of_its_card(model_folder: Maker) -> None:
    saved = '{"prompts": {"query": "", "document": ""}}'  # what sentence-transformers 5 writes by itself
    model_folder("BAAI/bge-base-en-v1.5", **{"config_sentence_transformers.json": saved})
    assert find_model(Embedding(model="BAAI/bge-base-en-v1.5")).query_instruction == INSTRUCTIONS[1][1]


# the tokenizer


def test_the_tokenizer_neither_cuts_off_nor_pads() -> None:
    tokenizer = load_tokenizer(find_model(Embedding()).tokenizer_file)
    short, long = tokenizer.encode_batch(["one", "many words " * 1000])
    assert len(short.ids) == 3
    assert len(long.ids) == 2002
