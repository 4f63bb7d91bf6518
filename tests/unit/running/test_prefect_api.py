"""A Prefect server that is away, is none, or refuses the password: one line each, before anything runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextvars import Context
from dataclasses import dataclass

import httpcore
import pytest
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from tests.http_server import QuietHandler, http_server

from roost.deployments.local import prefect_start
from roost.deployments.local.prefect_choice import PrefectChoice
from roost.deployments.local.temporary_prefect import TemporaryPrefect
from roost.flows.running.command_server import command_server, has_lasting_server, server_ends_with_command
from roost.flows.running.prefect_api import check_server
from roost.tasks.errors import ConfigurationError, RoostError, RunError, TransientError


@dataclass
class AnsweringServer:
    """A server that answers every call with the same HTTP status."""

    port: int
    status: int = 200


@pytest.fixture
def answering() -> Iterator[AnsweringServer]:

    class Handler(QuietHandler):
        def answer(self) -> None:
            self.send(server.status, b"{}")

    with http_server(Handler) as port:
        server = AnsweringServer(port)
        yield server


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, ConfigurationError, "PREFECT_API_AUTH_STRING"),
        (404, ConfigurationError, "its address ends in /api"),
        (500, TransientError, "HTTP 500"),
    ],
)
def test_a_server_that_refuses_is_one_line(answering, status, error, says) -> None:
    answering.status = status
    url = f"http://127.0.0.1:{answering.port}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(error, match=says) as refused:
        check_server()
    assert url in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_server_that_does_not_answer_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(httpcore.SyncBackend, "sleep", lambda *_: None)  # 1.5 s between the tries to connect
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(TransientError, match="does not answer") as away:
        check_server()
    assert "\n" not in str(away.value)


def test_a_url_without_a_scheme_is_named() -> None:
    with temporary_settings({PREFECT_API_URL: "localhost:4200/api"}), pytest.raises(ConfigurationError, match="is no"):
        check_server()


@pytest.mark.parametrize("ends", [True, False])
def test_a_server_of_a_command_is_none_for_engines_and_shards_whose_workers_live_elsewhere(ends: bool) -> None:
    url = "http://127.0.0.1:1/api"

    def check() -> None:
        with temporary_settings({PREFECT_API_URL: url}):
            with command_server(url, ends_with_command=ends):
                assert (has_lasting_server(), server_ends_with_command()) == (False, ends)
            assert (has_lasting_server(), server_ends_with_command()) == (True, False)
        with temporary_settings(restore_defaults={PREFECT_API_URL}):
            assert (has_lasting_server(), server_ends_with_command()) == (False, True)

    Context().run(check)  # other tests of this process may have settings of their own


def test_a_temporary_server_is_the_one_of_prefects_settings_inside_its_context_only() -> None:
    def check() -> None:
        before = get_current_settings().api.url
        with TemporaryPrefect(None, "http://127.0.0.1:1/api", None).serve():  # type: ignore[arg-type]
            assert get_current_settings().api.url == "http://127.0.0.1:1/api"
        assert get_current_settings().api.url == before

    Context().run(check)


def test_a_home_in_which_prefect_cannot_write_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RoostError) as refused:
        TemporaryPrefect.begin(PrefectChoice("", tmp_path / "file" / "prefect"))
    assert refused.value.exit_code == 2
    assert "set PREFECT_HOME to a folder that can be written" in str(refused.value)


def test_a_temporary_server_that_ends_at_its_start_is_one_line_with_its_last_words(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(
        prefect_start, "PROGRAM", ("-c", "import sys; sys.exit('Traceback of it\\n\\nno such module\\n')")
    )
    server = TemporaryPrefect.begin(PrefectChoice("", tmp_path))
    with pytest.raises(RunError, match=r"code 1: no such module$"):
        server.wait_until_ready()
    server.stop()
