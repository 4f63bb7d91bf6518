"""The Prefect server that a command keeps for the user's next commands: find it, or start it; use it; end it.

No process watches it: it ends by itself when no command has used it for a while (`KeptApp`). What the files and locks
mean, `kept_state` says. All decisions are made under the start lock, so two commands cannot start two servers.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from subprocess import Popen

from roost.deployments.local.kept_state import ServerState, StateFiles, files_of, preferred_port
from roost.deployments.local.prefect_child import ChildOptions
from roost.deployments.local.prefect_choice import PrefectChoice
from roost.deployments.local.prefect_start import (
    AUTH_VARIABLE,
    URL_VARIABLE,
    environment,
    last_log_line,
    listen,
    start_child,
    wait_until_healthy,
)
from roost.deployments.local.private_files import ForeignFileError, locked, open_lock_file, try_lock, wait_for_lock
from roost.deployments.local.server_process import HOST, PORTS, http_answers
from roost.flows.running.command_server import command_server
from roost.tasks.errors import ConflictError, RunError

#: Time to wait for the locks: a server that ends has the use lock, a command that starts one the start lock.
LOCK_TIMEOUT_S = 20.0
#: Time that a server that has begun to start has to write its address, before it imports anything.
ADDRESS_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.02
#: Time that a server has to end after SIGTERM, and after SIGKILL.
END_TIMEOUTS_S = (10.0, 5.0)


class CannotKeepError(RunError):
    """No server can be kept, or the kept one cannot be used; the message says why, and what to do."""


class KeptPrefect:
    """A kept server, running or starting, with this process's lock on it; `close` gives up the lock.

    url: URL of its API.
    auth: `user:password`.
    files: Its state files.
    is_new: Whether this process started it.
    """

    def __init__(self, files: StateFiles, url: str, use_lock: int, process: Popen[bytes] | None) -> None:
        self.files, self.url, self.auth = files, url, files.auth()
        self._use_lock, self._process = use_lock, process
        self.is_new = process is not None

    @classmethod
    def begin(cls, choice: PrefectChoice, idle_s: float) -> KeptPrefect:
        """Find the user's server, or begin to start one.

        Args:
            choice: Prefect's settings of the command.
            idle_s: Seconds of not being used after which a new server ends.

        Raises:
            CannotKeepError: The state folder cannot be used, or a server in it is not ours to use.
            ConfigurationError: PREFECT_HOME cannot be written.
        """
        try:
            files = files_of(choice)
            with ExitStack() as stack:
                use_lock = open_lock_file(files.use_lock)
                stack.callback(os.close, use_lock)
                if not wait_for_lock(use_lock, fcntl.LOCK_SH, LOCK_TIMEOUT_S):
                    raise CannotKeepError(f"the Prefect server of {files.folder} does not end")
                with locked(files.start_lock, LOCK_TIMEOUT_S):
                    server = _find(files, use_lock) or _start(files, choice, idle_s, use_lock)
                stack.pop_all()
                return server
        except (OSError, ForeignFileError) as error:
            raise CannotKeepError(f"no Prefect server can be kept: {error}") from None

    @property
    def ui(self) -> str:
        """Address of its UI."""
        return self.url.removesuffix("/api")

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            RunError: It ended, or did not answer in time.
        """
        wait_until_healthy(self.url, self._exit_code, lambda: last_log_line(self.files.log.read_bytes()))

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Have all runs of this process and of its children use the server inside the context."""
        variables = {URL_VARIABLE: self.url, AUTH_VARIABLE: self.auth}
        with environment(variables), command_server(self.url, ends_with_command=False):
            yield

    def close(self) -> None:
        """Give up the lock: the server may end when it is idle."""
        os.close(self._use_lock)

    def _exit_code(self) -> int | None:
        """Return the exit code of the server if it has ended; 0 if another process started it."""
        if self._process is not None:
            return self._process.poll()
        with locked(self.files.start_lock, LOCK_TIMEOUT_S):
            return None if _is_alive(self.files) else 0


def end_server(files: StateFiles) -> str:
    """End a kept server, if no command uses it.

    Returns:
        Address of the UI of the server that was ended; empty if none is alive.

    Raises:
        ConflictError: A command uses it.
        RunError: It does not end.
        ForeignFileError: Its files belong to another user.
    """
    with locked(files.start_lock, LOCK_TIMEOUT_S), ExitStack() as stack:
        alive_lock = open_lock_file(files.alive_lock)
        stack.callback(os.close, alive_lock)
        if try_lock(alive_lock, fcntl.LOCK_EX):
            files.remove()  # a server that was killed left it
            return ""
        state = _wait_for_state(files, alive_lock)
        if state is None:
            return ""
        use_lock = open_lock_file(files.use_lock)
        stack.callback(os.close, use_lock)
        if not try_lock(use_lock, fcntl.LOCK_EX):
            raise ConflictError(f"the Prefect server at {state.ui} is in use: wait until the command that uses it ends")
        _end_process(state, alive_lock, files)
        return state.ui


def _find(files: StateFiles, use_lock: int) -> KeptPrefect | None:
    """Return the server that is alive; None if none is. One of another version of Prefect is ended.

    Raises:
        CannotKeepError: It does not answer, refuses the password, or is of another version and in use.
    """
    with ExitStack() as stack:
        alive_lock = open_lock_file(files.alive_lock)
        stack.callback(os.close, alive_lock)
        if try_lock(alive_lock, fcntl.LOCK_EX):
            return None
        state = _wait_for_state(files, alive_lock)
        if state is None:
            return None
        server = KeptPrefect(files, state.url, use_lock, None)
        if state.prefect_version == version("prefect"):
            if state.is_ready and not http_answers(f"{state.url}/admin/version", server.auth):
                raise CannotKeepError(
                    f"the Prefect server at {state.ui} does not answer, or refuses the password in "
                    f"{files.password_file}: `roost down` ends it"
                )
            return server
        if not try_lock(use_lock, fcntl.LOCK_EX):
            raise CannotKeepError(f"a command still uses the server of Prefect {state.prefect_version}")
        _end_process(state, alive_lock, files)
        if not wait_for_lock(use_lock, fcntl.LOCK_SH, LOCK_TIMEOUT_S):
            raise CannotKeepError(f"{files.use_lock} is locked")
        return None


def _start(files: StateFiles, choice: PrefectChoice, idle_s: float, use_lock: int) -> KeptPrefect:
    """Begin to start a server. It inherits its lock, so that it counts as alive from its first moment."""
    files.remove()  # a server that was killed left it
    files.auth()  # made now, because two processes must not make two
    with ExitStack() as stack:
        alive_lock = open_lock_file(files.alive_lock)
        stack.callback(os.close, alive_lock)
        if not try_lock(alive_lock, fcntl.LOCK_EX):
            raise CannotKeepError(f"{files.alive_lock} is locked")
        listener = stack.enter_context(listen(preferred_port(choice, PORTS)))
        files.log.unlink(missing_ok=True)
        log = stack.enter_context(open(open_lock_file(files.log), "wb"))  # noqa: PTH123  a descriptor, not a path
        options = ChildOptions(listener.fileno(), folder=str(files.folder), idle_s=idle_s, stays=bool(choice.database))
        process = start_child(options, choice, log, (alive_lock,))
        return KeptPrefect(files, f"http://{HOST}:{listener.getsockname()[1]}/api", use_lock, process)


def _is_alive(files: StateFiles) -> bool:
    """Whether a server has the lock. Call it with the start lock only."""
    alive_lock = open_lock_file(files.alive_lock)
    try:
        return not try_lock(alive_lock, fcntl.LOCK_EX)
    finally:
        os.close(alive_lock)


def _wait_for_state(files: StateFiles, alive_lock: int) -> ServerState | None:
    """Return what a server that is alive says of itself; None, and its lock, if it ends in the meantime.

    One that has just been started has not written it yet, and one that ends because it is idle has removed it.

    Raises:
        CannotKeepError: It neither writes it nor ends.
    """
    deadline = time.monotonic() + ADDRESS_TIMEOUT_S
    while time.monotonic() < deadline:
        if state := files.read():
            return state
        if try_lock(alive_lock, fcntl.LOCK_EX):
            return None
        time.sleep(POLL_INTERVAL_S)
    raise CannotKeepError(f"the Prefect server of {files.folder} does not write its address")


def _end_process(state: ServerState, alive_lock: int, files: StateFiles) -> None:
    """End a server, and lock its file instead of it.

    Raises:
        RunError: It does not end.
    """
    for number, timeout_s in zip((signal.SIGTERM, signal.SIGKILL), END_TIMEOUTS_S, strict=True):
        with suppress(ProcessLookupError):
            os.kill(state.pid, number)
        if wait_for_lock(alive_lock, fcntl.LOCK_EX, timeout_s):
            files.remove()
            return
    raise RunError(f"the Prefect server at {state.ui}, process {state.pid}, does not end")
