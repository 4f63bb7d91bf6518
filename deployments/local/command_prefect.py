"""The Prefect server of a command: the one of Prefect's settings, that of `roost up`, a kept one, or a temporary one.

No module that this one imports at its top imports Prefect: the server starts while the command imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from roost.deployments.local.kept_prefect import CannotKeepError, KeptPrefect
from roost.deployments.local.prefect_choice import PrefectChoice, read_choice
from roost.deployments.local.private_files import ForeignFileError
from roost.deployments.local.running_stack import RunningStack, find_stack
from roost.deployments.local.temporary_prefect import TemporaryPrefect

Say = Callable[[str], None]


class CommandPrefect:
    """The server of a command, which may still be starting.

    ui: Address of its UI, for the page of the run; empty where a person has no use for it.
    """

    def __init__(self, wait_until_ready: Callable[[], None], ui: str = "") -> None:
        self.wait_until_ready, self.ui = wait_until_ready, ui

    def run_page(self, run_id: object) -> str:
        """Return the address of a run's page, in the UI that asks for the password first and then shows the page."""
        return f"{self.ui}/v2/runs/flow-run/{run_id}"


@contextmanager
def command_prefect(idle_minutes: float, say: Say) -> Iterator[CommandPrefect]:
    """Have a Prefect server inside the context for the runs of this process: call `wait_until_ready` before the first.

    It is the one that Prefect's settings name. If they name none, it is that of `roost up` or a kept one, and without
    idle minutes a temporary one.

    Args:
        idle_minutes: Minutes of not being used after which a kept server ends; 0 for a temporary server.
        say: Called with one line for the person at the terminal.

    Raises:
        ConfigurationError: PREFECT_HOME cannot be written. `wait_until_ready`: the server refuses the password, or its
            address is wrong.
        RunError: `wait_until_ready`: the server could not be started.
        TransientError: `wait_until_ready`: the server of Prefect's settings does not answer.
    """
    choice = read_choice()
    if choice.api_url:
        yield CommandPrefect(_check_server)
        return
    if not idle_minutes:
        with _temporary(choice) as server:
            yield server
        return
    if stack := _usable_stack(say):
        login = f"its UI asks for PREFECT_API_AUTH_STRING in {stack.access_file}"
        say(f"Prefect: the server of `roost up`, {stack.ui}; {login}")
        with stack.serve():
            yield CommandPrefect(lambda: None, stack.ui)
        return
    try:
        kept = KeptPrefect.begin(choice, idle_minutes * 60)
    except CannotKeepError as error:
        say(f"Prefect: {error}; this command uses a temporary server")
        with _temporary(choice) as server:
            yield server
        return
    try:
        say(_kept_line(kept, idle_minutes))
        with kept.serve():
            yield CommandPrefect(kept.wait_until_ready, kept.ui)
    finally:
        kept.close()


@contextmanager
def _temporary(choice: PrefectChoice) -> Iterator[CommandPrefect]:
    server = TemporaryPrefect.begin(choice)
    try:
        with server.serve():
            yield CommandPrefect(server.wait_until_ready)
    finally:
        server.stop()


def _check_server() -> None:
    from roost.flows.running.prefect_api import check_server

    check_server()


def _usable_stack(say: Say) -> RunningStack | None:
    """Return the user's stack, if its Prefect server can be used."""
    try:
        stack = find_stack()
    except (OSError, ForeignFileError) as error:
        say(f"Prefect: {error}")
        return None
    if stack is None or stack.prefect_version != version("prefect") or not stack.answers():
        return None
    return stack


def _kept_line(kept: KeptPrefect, idle_minutes: float) -> str:
    """Say which server it is, when it ends, and how one logs in."""
    login = f"its UI asks for the text in {kept.files.password_file}"
    if kept.is_new:
        return f"Prefect: starting a server that ends after {idle_minutes:g} idle minutes, {kept.ui}; {login}"
    return f"Prefect: the server of an earlier command, {kept.ui}; {login}"
