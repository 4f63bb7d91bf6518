"""The default model's own files, and models of the hub, with and without it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.stand_ins import make_model_folder

from roost.tasks.models.model import PACKAGED_MODELS, find_model
from roost.tasks.settings import Embedding

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


def test_the_default_model_comes_from_its_package_with_what_its_card_says() -> None:
    model = find_model(Embedding())
    assert (model.name, model.dimension, model.window, model.special_tokens) == (DEFAULT, 384, 256, 2)
    assert (model.query_instruction, model.text_instruction) == ("", "")
    assert model.revision == PACKAGED_MODELS[DEFAULT][2][:16]


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


def test_a_model_that_the_hub_gave_before_is_found_without_it(tmp_path: Path) -> None:
    commit = "a" * 40
    make_model_folder(tmp_path / f"hub/models--some--model/snapshots/{commit}")
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
