"""Settings: where they come from, and that a mistake is one line that names it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from roost.tasks.errors import ConfigurationError
from roost.tasks.settings import (
    MAX_MILVUS_TIMEOUT_S,
    Chunking,
    Ingest,
    Milvus,
    Settings,
    load_settings,
    set_library_defaults,
)
from roost.tasks.versions.lease import RENEW_INTERVAL_S
from roost.tasks.versions.lease_rows import EXPIRES_AFTER_S, MAX_CLOCK_DIFFERENCE_S

SECRET = "root:open-sesame"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("ROOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal() -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    said = str(caught.value)
    assert "\n" not in said
    assert SECRET not in said
    assert caught.value.exit_code == 2
    return said


def test_without_any_setting_the_defaults_serve() -> None:
    found = load_settings()
    assert found.milvus.uri == "./roost.db"
    assert found.milvus.is_lite
    assert (found.milvus.index_type, found.milvus.metric) == ("HNSW", "COSINE")
    assert found.embedding.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert found.embedding.query_instruction is None
    assert (found.chunking.size, found.chunking.overlap) == (240, 24)
    assert found.ingest == Ingest()


def test_a_name_of_two_parts_sets_one_value_and_leaves_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", "http://milvus:19530")
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "100")
    monkeypatch.setenv("ROOST_INGEST__MAX_DELETE_FRACTION", "0.05")
    found = load_settings()
    assert found.milvus == Milvus(uri="http://milvus:19530")
    assert found.chunking == Chunking(size=100)
    assert found.ingest.max_delete_fraction == 0.05


def test_names_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("roost_milvus__uri", "http://milvus:19530")
    assert load_settings().milvus.uri == "http://milvus:19530"


def test_a_call_to_milvus_may_not_outlast_the_writer_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS__TIMEOUT", "31")
    with pytest.raises(ConfigurationError, match="ROOST_MILVUS__TIMEOUT: must be at most 30 seconds: a run renews its"):
        load_settings()
    assert 2 * MAX_MILVUS_TIMEOUT_S + RENEW_INTERVAL_S < EXPIRES_AFTER_S - MAX_CLOCK_DIFFERENCE_S


def test_a_subject_may_be_given_as_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS", '{"uri": "http://milvus:19530", "timeout": 5}')
    monkeypatch.setenv("ROOST_MILVUS__TIMEOUT", "6")
    found = load_settings().milvus
    assert (found.uri, found.timeout) == ("http://milvus:19530", 6)


@pytest.mark.parametrize(
    ("uri", "lite"),
    [
        ("./roost.db", True),
        ("/data/roost.db", True),
        ("http://host:19530", False),
        ("https://x.zillizcloud.com", False),
    ],
)
def test_a_uri_without_a_scheme_is_a_lite_file(uri: str, lite: bool) -> None:
    assert Milvus(uri=uri).is_lite is lite


# mistakes


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ROOST_MILVSU__URI", "ROOST_MILVUS__URI"),
        ("ROOST_MILVUS_URI", "ROOST_MILVUS__URI"),
        ("roost_milvsu__uri", "ROOST_MILVUS__URI"),
        ("ROOST_MILVUS__URL", "ROOST_MILVUS__URI"),
        ("ROOST_CHUNKING__SIZ", "ROOST_CHUNKING__SIZE"),
        ("ROOST_MILVUS__TOKEN__X", "ROOST_MILVUS__TOKEN"),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_known_one_is_suggested(monkeypatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, SECRET)
    assert refusal() == f"unknown setting {name}; did you mean {meant}?"


def test_an_unknown_name_in_the_json_object_of_a_group_is_refused_by_its_full_name(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING", '{"siz": 100}')
    assert refusal() == "unknown setting ROOST_CHUNKING__SIZ; did you mean ROOST_CHUNKING__SIZE?"


def test_a_name_like_no_other_is_refused_with_the_names_of_its_group_or_the_groups(monkeypatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__PARAGRAPHS_KEPT", SECRET)
    known = ", ".join(f"ROOST_CHUNKING__{name}" for name in ("CONTEXT", "FIELDS", "METHOD", "OVERLAP", "SIZE"))
    assert refusal() == f"unknown setting ROOST_CHUNKING__PARAGRAPHS_KEPT; known: {known}"
    monkeypatch.delenv("ROOST_CHUNKING__PARAGRAPHS_KEPT")
    monkeypatch.setenv("ROOST_", SECRET)
    groups = ("CHUNKING", "EMBEDDING", "EVALUATION", "INGEST", "LLM", "MILVUS", "PREFECT", "SCALE", "SEARCH", "WEB")
    assert refusal() == f"unknown setting ROOST_; known: {', '.join(f'ROOST_{group}__…' for group in groups)}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROOST_CHUNKING__SIZE", "many"),
        ("ROOST_CHUNKING__SIZE", "4"),
        ("ROOST_MILVUS__INDEX_TYPE", "HSNW"),
        ("ROOST_MILVUS__TIMEOUT", SECRET),
        ("ROOST_EMBEDDING", f'{{"api_key": "{SECRET}"}}'),
        ("ROOST_EMBEDDING__OTHER_KEYS", SECRET),
        ("ROOST_EMBEDDING__BASE_URL", f"https://{SECRET}@host/v1"),
        ("ROOST_MILVUS__TIMEOUT", "inf"),
        ("ROOST_INGEST__MAX_DELETE_FRACTION", "1.5"),
        ("ROOST_INGEST__BATCHES_IN_FLIGHT", "0"),
        ("ROOST_EVALUATION__FOLDER", f"ftp://{SECRET}@host/evaluations"),
        ("ROOST_EVALUATION__FOLDER", f"simplecache::ftp://{SECRET}@host/evaluations"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal().startswith(f"{name}: ")


def test_an_address_with_a_container_before_its_account_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_EVALUATION__FOLDER", "abfs://container@account.dfs.core.windows.net/evaluations")
    assert load_settings().evaluation.folder.startswith("abfs:")


def test_an_overlap_as_large_as_the_size_is_refused_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "24")
    said = refusal()
    assert said.startswith("ROOST_CHUNKING: ")
    assert "overlap 24 must be smaller than size 24" in said


@pytest.mark.parametrize("value", [SECRET, "", "[1]", "{"])
def test_a_subject_that_is_no_json_object_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ROOST_MILVUS", value)
    assert "ROOST_MILVUS" in refusal()


# .env


def test_the_file_is_read_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("ROOST_MILVUS__URI=http://file\nROOST_MILVUS__TIMEOUT=7\nOTHER_NAME=1\n")
    monkeypatch.setenv("ROOST_MILVUS__URI", "http://environment")
    found = load_settings().milvus
    assert (found.uri, found.timeout) == ("http://environment", 7)


@pytest.mark.parametrize("name", ["ROOST_MILVSU__URI", "ROOST_MILVUS__URL"])
def test_an_unknown_name_in_the_file_is_refused(name: str) -> None:
    Path(".env").write_text(f"{name}={SECRET}\n")
    assert name in refusal()


def test_a_file_that_is_not_utf_8_is_refused_in_one_line() -> None:
    Path(".env").write_bytes(b"ROOST_MILVUS__URI=caf\xe9\n")
    assert ".env" in refusal()


# secrets


def test_a_token_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS__TOKEN", SECRET)
    found = load_settings()
    assert found.milvus.token.get_secret_value() == SECRET
    milvus = found.milvus
    for text in (
        repr(found),
        str(found),
        f"{milvus}",
        repr(milvus.token),
        found.model_dump_json(),
        str(found.model_dump()),
    ):
        assert SECRET not in text


# what cannot be changed later


def test_settings_do_not_change_once_read() -> None:
    found = load_settings()
    with pytest.raises(ValidationError):
        found.milvus.uri = "http://elsewhere"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        found.milvus = Milvus()  # type: ignore[misc]


def test_every_setting_says_what_it_is_for() -> None:
    groups = {name: field.annotation for name, field in Settings.model_fields.items()}
    silent = [
        f"{subject}.{name}"
        for subject, group in groups.items()
        for name, field in group.model_fields.items()  # type: ignore[union-attr]
        if not field.description
    ]
    assert silent == []


def test_library_defaults_leave_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    set_library_defaults(quiet=True)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_settings_import_nothing_heavy() -> None:
    program = "import sys, roost.tasks.settings; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "prefect",
        "pymilvus",
        "torch",
        "polars",
        "llama_index",
        "transformers",
        "numpy",
    }


def test_neither_prefect_nor_openvino_writes_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    set_library_defaults(quiet=True)
    assert os.environ["DO_NOT_TRACK"] == "1"
    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")  # OpenVINO then does without


@pytest.mark.parametrize(
    ("given", "ci", "has_terminal", "minutes"),
    [
        (None, None, True, 10),
        (None, None, False, 0),
        (None, "1", True, 0),
        (None, "true", True, 0),
        (None, "false", True, 10),
        ("0", None, True, 0),
        ("0.5", "1", False, 0.5),
    ],
)
def test_a_prefect_server_is_kept_in_a_terminal_unless_a_setting_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, ci: str | None, has_terminal: bool, minutes: float
) -> None:
    for name, value in (("CI", ci), ("ROOST_PREFECT__IDLE_MINUTES", given)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert load_settings().prefect.kept_minutes(has_terminal=has_terminal) == minutes
