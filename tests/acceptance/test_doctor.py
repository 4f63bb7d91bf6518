"""`roost doctor`: what works here, and the command that mends the rest."""

from __future__ import annotations

from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings
from tests.acceptance.conftest import Roost

SECRET = "Sup3rSecret"


def checks(ended):
    return {check["name"]: check for check in ended.json["checks"]}


def test_a_healthy_machine_has_no_problem_and_its_settings_name_their_origin_without_secrets(
    roost_here: Roost, lite: str, prefect_api: str, folder
):
    roost_here("ingest", folder(**{"a.md": "# A\n\nText."}), "--index", "here", PREFECT_API_URL=prefect_api)
    Path(".env").write_text("ROOST_CHUNKING__SIZE=200\n")
    given = {"PREFECT_API_URL": prefect_api, "ROOST_MILVUS__TOKEN": f"root:{SECRET}", "ROOST_LLM__API_KEY": SECRET}
    ended = roost_here("doctor", "--json", **given)
    assert (ended.code, ended.json["healthy"]) == (0, True), ended.out
    found = checks(ended)
    assert found["milvus"]["found"].startswith(f"{lite}: Milvus Lite ")
    assert "vectors and words (BM25)" in found["milvus"]["found"]
    assert "384 dimensions, checksum as published" in found["model"]["found"]
    assert found["prefect"]["found"] == f"{prefect_api} answers"
    assert found["clock"]["status"] == "ok"
    settings = {each["name"]: (each["value"], each["origin"]) for each in ended.json["settings"]}
    assert settings["ROOST_MILVUS__URI"] == (lite, "environment")
    assert settings["ROOST_CHUNKING__SIZE"] == ("200", ".env")
    assert settings["ROOST_CHUNKING__OVERLAP"] == ("24", "default")
    assert settings["ROOST_MILVUS__TOKEN"] == ("********", "environment")
    shown = roost_here("doctor", "--settings", **given)
    assert SECRET not in ended.out + ended.err + shown.out + shown.err
    assert "ROOST_CHUNKING__SIZE=200  (.env)" in shown.out
    assert shown.out.endswith("no problem found\n")


def test_each_problem_is_named_with_what_mends_it_and_the_exit_code_is_1(roost_here: Roost, tmp_path: Path):
    (tmp_path / "model").mkdir()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        ended = roost_here(
            *("doctor", "--json"),
            ROOST_MILVUS__URI="http://127.0.0.1:9",
            ROOST_EMBEDDING__MODEL=str(tmp_path / "model"),
            PREFECT_API_URL="http://127.0.0.1:9/api",
        )
    assert (ended.code, ended.json["healthy"]) == (1, False)
    problems = {name for name, check in checks(ended).items() if check["status"] == "problem"}
    assert problems == {"milvus", "model", "prefect"}
    assert "http://127.0.0.1:9" in checks(ended)["milvus"]["found"] + checks(ended)["milvus"]["remedy"]
    assert checks(ended)["prefect"]["remedy"] == "start it"


def test_a_wrong_setting_does_not_keep_the_other_checks_from_running(roost_here: Roost):
    ended = roost_here("doctor", ROOST_MILVUS__URL="x", ROOST_CHUNKING__SIZE="200")
    assert ended.code == 1
    assert "unknown setting ROOST_MILVUS__URL; did you mean ROOST_MILVUS__URI?" in ended.out
    assert "formats: " in ended.out
    assert ended.out.endswith("1 problem found\n")


def test_a_model_of_the_hub_that_is_not_here_yet_is_no_problem(roost_here: Roost):
    ended = roost_here("doctor", "--json", ROOST_EMBEDDING__MODEL="nobody/nothing-at-all")
    assert (ended.code, checks(ended)["model"]["status"]) == (0, "note")
