"""Models: where their files are found, what is read from them, and what is refused before anything is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stand_ins import made_model, make_model_folder

from roost.tasks.errors import ModelError
from roost.tasks.models import model
from roost.tasks.models.model import INSTRUCTIONS, find_model, load_tokenizer, load_truncating_tokenizer
from roost.tasks.settings import Embedding

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"

Maker = Callable[..., Path]


@pytest.fixture
def model_folder(tmp_path: Path) -> Maker:
    """Make a tiny model folder, with a made tokenizer and weights that are none: `model_folder("name", **files)`."""
    return lambda name="tiny", /, **files: make_model_folder(tmp_path / name, **files)


def refusal(model: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(Embedding(model=str(model)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# the default model


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch, model_folder: Maker, tmp_path: Path) -> Path:
    """An installed package that says it carries the default model: the folder of the model in it."""
    folder = model_folder("fake_minilm/inner")
    (tmp_path / "fake_minilm" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    digest = hashlib.sha256(b"tiny weights").hexdigest()
    monkeypatch.setattr(model, "PACKAGED_MODELS", {DEFAULT: ("fake_minilm", "inner", digest)})
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
        (
            {"model.safetensors": None},
            "is not a model folder: it contains none of model.safetensors, pytorch_model.bin",
        ),
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


@pytest.mark.parametrize("name", ["../elsewhere", "a b", "/nowhere/model", "a/b/c"])
def test_a_name_that_no_model_can_have_is_refused_without_asking_the_hub(name: str) -> None:
    assert refusal(name).startswith(f"no model '{name}': neither a folder here nor on the hub (")


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


def test_the_tokenizer_neither_cuts_off_nor_pads_also_beside_one_that_does() -> None:
    file = made_model().tokenizer_file
    assert len(load_truncating_tokenizer(file, 64).encode("many words " * 1000).ids) == 64
    tokenizer = load_tokenizer(file)
    short, long = tokenizer.encode_batch(["one", "many words " * 1000])
    assert len(short.ids) == 3
    assert len(long.ids) == 2002
