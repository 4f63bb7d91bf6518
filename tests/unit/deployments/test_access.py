"""The file of addresses and passwords that `roost up` leaves for other terminals."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roost.deployments.local.access import Access, prepare_access


@pytest.fixture(autouse=True)
def _no_password_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)


def access(data: Path, *, milvus_takes_password: bool = True) -> Access:
    return prepare_access(data, milvus_port=1, prefect_port=2, milvus_takes_password=milvus_takes_password)


def test_passwords_are_generated_once_and_only_their_owner_can_read_them(tmp_path):
    data = tmp_path / "a folder's" / "data"
    first, again = access(data), access(data)
    assert first == again
    assert len(first.milvus_password) >= 20
    assert first.prefect_auth.startswith("roost:")
    assert len(first.prefect_auth) >= 26
    assert first.file.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    other = access(tmp_path / "other")
    assert not {other.milvus_password, other.prefect_auth} & {first.milvus_password, first.prefect_auth}


def test_a_shell_reads_the_same_values_from_another_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:it's $HOME")
    made = access(tmp_path / "a folder's" / "data")
    assert made.prefect_auth == "admin:it's $HOME"
    words = f'{made.read_command()} && env && test -z "$(ls)"'
    (tmp_path / "elsewhere").mkdir()
    shown = subprocess.run(
        ["sh", "-c", words],
        cwd=tmp_path / "elsewhere",
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert set(shown.splitlines()) >= {f"{name}={value}" for name, value in made.variables.items()}
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING")
    assert access(tmp_path / "a folder's" / "data") == made


def test_milvus_lite_takes_no_password(tmp_path):
    made = access(tmp_path, milvus_takes_password=False)
    assert made.milvus_password == ""
    assert "ROOST_MILVUS__TOKEN" not in made.variables
