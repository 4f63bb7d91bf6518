"""The kept server of a user: one at a time, found by the next command, gone when idle, whatever is killed.

The server's own program runs, with a small application in place of Prefect's; tests/acceptance has the real one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kept import Kept, kept_user
from tests.waiting import until

from roost.deployments.local.kept_prefect import end_server
from roost.tasks.errors import ConflictError

#: Idle time in minutes that no test reaches, and one that ends within a test.
LONG, SHORT = 10.0, 0.01


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Kept]:
    """A user whose server stays for the whole test."""
    with kept_user(tmp_path / "user", stand_in=True, idle_minutes=LONG) as made:
        yield made


def test_commands_that_start_together_have_one_server_and_a_later_one_finds_it(user: Kept) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(user.client(START_DELAY_S="0.3")) for _ in range(4)]
        urls = {client.ready() for client in clients}
        assert len(urls) == len(user.servers()) == 1
    with user.client() as later:
        assert later.line().startswith("Prefect: the server of an earlier command")
        assert {later.ready()} == urls
        assert user.files.password_file.stat().st_mode & 0o777 == 0o600
        assert later.end() == 0


def test_it_stays_while_a_command_uses_it_and_ends_when_all_are_gone_also_when_they_are_killed(tmp_path: Path) -> None:
    with kept_user(tmp_path / "user", stand_in=True, idle_minutes=SHORT) as user:
        with user.client(START_DELAY_S="1") as first:
            pid = user.state().pid
            first.process.kill()  # while the server starts
            with user.client() as second:
                second.ready()
                with pytest.raises(AssertionError):
                    until(lambda: user.servers() != [pid], seconds=2)  # more than twice the idle time
                second.process.kill()
        until(lambda: not user.servers(), seconds=20)
        assert user.files.read() is None


def test_a_server_that_was_killed_is_replaced_whoever_has_its_process_id_now(user: Kept) -> None:
    with user.client() as client:
        client.ready()
        killed = user.state()
        os.kill(killed.pid, signal.SIGKILL)
    user.files.write(replace(killed, pid=os.getpid()))
    with user.client() as client:
        assert client.line().startswith("Prefect: starting a server")
        client.ready()
        assert user.servers() == [user.state().pid]
        assert killed.pid != user.state().pid != os.getpid()


def test_a_server_of_another_version_is_replaced_when_no_command_uses_it(user: Kept) -> None:
    with user.client() as client:
        client.ready()
        user.files.write(old := replace(user.state(), prefect_version="3.8.7"))
        with user.client() as newer:
            assert newer.line() == (
                "Prefect: a command still uses the server of Prefect 3.8.7; this command uses a temporary server"
            )
            newer.process.kill()
        assert user.servers()[0] == old.pid
    with user.client() as newer:
        assert newer.line().startswith("Prefect: starting a server")
        newer.ready()
        assert user.servers() == [user.state().pid]
        assert user.state().pid != old.pid


def test_a_server_that_hangs_is_not_waited_for_and_down_ends_it(user: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    with user.client() as client:
        address = client.ready().removesuffix("/api")
    os.kill(user.state().pid, signal.SIGSTOP)
    with user.client() as client:
        assert "does not answer, or refuses the password" in client.line("Prefect")
    monkeypatch.setattr("roost.deployments.local.kept_prefect.END_TIMEOUTS_S", (0.5, 10))
    assert end_server(user.files) == address
    until(lambda: not user.servers(), 10)  # its lock is free a moment before it is gone


def test_down_refuses_to_end_a_server_that_a_command_uses(user: Kept) -> None:
    with user.client() as client:
        client.ready()
        with pytest.raises(ConflictError, match="is in use"):
            end_server(user.files)
        assert client.end() == 0
    assert end_server(user.files).startswith("http://127.0.0.1:")
    assert end_server(user.files) == ""
    assert user.servers() == []


@pytest.mark.parametrize("fault", ["is open to", "belongs to"])
def test_a_file_that_others_may_read_or_own_is_refused_by_name(user: Kept, fault: str) -> None:
    if fault == "belongs to" and os.geteuid():
        pytest.skip("only root can give a file away")
    with user.client() as client:
        client.ready()
        for file in (user.files.folder / "server.json", user.files.password_file):
            mode, owner = (0o644, os.geteuid()) if fault == "is open to" else (0o600, 12345)
            file.chmod(mode)
            os.chown(file, owner, -1)
            with user.client() as refused:
                said = refused.line("Prefect")
            assert f"{file} {fault}" in said
            assert said.endswith("this command uses a temporary server")
            file.chmod(0o600)
            os.chown(file, os.geteuid(), -1)


def test_ctrl_c_in_the_terminal_of_a_command_does_not_reach_the_server(user: Kept) -> None:
    with user.client() as client:
        client.ready()
        pid = user.state().pid
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert os.getpgid(client.process.pid) != pid
