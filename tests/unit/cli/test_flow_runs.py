"""Mistakes that need no Prefect are told before any Prefect server is started."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from roost.cli.flow_runs import check_request, flow_runner
from roost.flows.parameters import EvaluationRequest, IngestRequest, RebuildRequest, VerifyRequest
from roost.tasks.errors import ConfigurationError, ConflictError, SourceError, StoreError, UsageError
from roost.tasks.sources.source import Source


def ingest(uri: str = ".", **choices: Any) -> IngestRequest:
    return IngestRequest(sources=[Source(uri=uri)], index="docs", **choices)


def test_a_wrong_path_a_wrong_setting_and_a_wrong_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="no such file or folder: nowhere"):
        check_request(ingest("nowhere"))
    with pytest.raises(SourceError, match="no such file or folder: nowhere"):
        check_request(RebuildRequest(sources=[Source(uri="nowhere")], index="docs"))
    monkeypatch.setenv("ROOST_CHUNKING__SIZ", "1")
    with pytest.raises(ConfigurationError, match="ROOST_CHUNKING__SIZ"):
        check_request(EvaluationRequest(index="docs"))


def test_a_file_that_cannot_be_an_index_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", "./roost.sqlite")
    monkeypatch.setenv("ROOST_INGEST__WAIT_SECONDS", "0")
    with pytest.raises(StoreError, match=r"must end in \.db"):
        check_request(VerifyRequest(index="docs"))


@pytest.mark.parametrize("file", ["OWNER", "LOCK"])
def test_a_held_lite_file_is_refused_unless_the_run_would_wait(tmp_path: Path, file: str, monkeypatch) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", str(tmp_path / "roost.db"))
    check_request(ingest(on_conflict="refuse"))
    assert not (tmp_path / "roost.db").exists()
    (tmp_path / "roost.db").mkdir()
    with (tmp_path / "roost.db" / file).open("w") as held:
        held.write("run 'nightly' since 09:15:00 UTC" if file == "OWNER" else "")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        owner = "run 'nightly'" if file == "OWNER" else "another process"
        with pytest.raises(ConflictError, match=rf"roost\.db is in use by {owner}"):
            check_request(ingest(on_conflict="refuse"))
        check_request(ingest())
        monkeypatch.setenv("ROOST_INGEST__WAIT_SECONDS", "0")
        with pytest.raises(ConflictError, match="is in use by"):
            check_request(VerifyRequest(index="docs"))
    check_request(ingest(on_conflict="refuse"))


def test_an_index_name_that_milvus_does_not_take_is_refused() -> None:
    with pytest.raises((UsageError, ValueError), match="not-a-name"):
        check_request(VerifyRequest(index="not-a-name"))


def test_a_command_that_is_started_with_closed_streams_has_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOST_PREFECT__IDLE_MINUTES", raising=False)
    monkeypatch.setattr("sys.stdin", None)
    asked: list[float] = []

    @contextmanager
    def server(idle_minutes: float, _: object) -> Iterator[None]:
        asked.append(idle_minutes)
        yield

    monkeypatch.setattr("roost.deployments.local.command_prefect.command_prefect", server)
    with flow_runner(bar=False):
        assert asked == [0]
