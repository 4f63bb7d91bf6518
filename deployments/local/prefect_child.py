"""The program of a Prefect server that a command starts: a temporary one, or one that is kept for later commands.

    python -P -m roost.deployments.local.prefect_child OPTIONS

OPTIONS is a JSON object with the fields of `ChildOptions`. A kept server writes its state file before it imports
Prefect, so that it is found also when the command that started it is killed.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from roost.deployments.local.kept_app import KeptApp
from roost.deployments.local.kept_state import ServerState, StateFiles
from roost.deployments.local.prefect_environment import server_environment
from roost.deployments.local.server_process import HOST
from roost.tasks.parent_death import end_with_parent

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Time that open connections have to end when the server stops.
CONNECTIONS_TIMEOUT_S = 2
#: Exit code of a server that could not start, as uvicorn's.
START_FAILED = 3
#: Without its UI, and without the services that only a lasting server needs.
_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}


@dataclass(frozen=True)
class ChildOptions:
    """How the server runs.

    listener: File descriptor of its listening socket.
    parent: Process id of the command with which a temporary server ends; 0 for a kept one.
    folder: Folder of the state files of a kept server; empty for a temporary one.
    idle_s: Seconds without a request and without a command that uses it after which a kept server ends.
    stays: Whether a kept server keeps its working directory, because the name of its database may be relative.
    """

    listener: int
    parent: int = 0
    folder: str = ""
    idle_s: float = 0.0
    stays: bool = False

    def as_argument(self) -> str:
        """Return the argument of the program."""
        return json.dumps(asdict(self))


def main() -> NoReturn:
    """Run the server until it ends."""
    options = ChildOptions(**json.loads(sys.argv[1]))
    listener = socket.socket(fileno=options.listener)
    if options.folder:
        if not options.stays:
            os.chdir(options.folder)
        _run_kept(StateFiles(Path(options.folder)), listener, options.idle_s)
    end_with_parent(options.parent)
    os.environ |= _TEMPORARY
    _run(_make_app(), listener)


def _run_kept(files: StateFiles, listener: socket.socket, idle_s: float) -> NoReturn:
    """Run a kept server; its state file is there as long as it runs."""
    port = listener.getsockname()[1]
    state = ServerState(f"http://{HOST}:{port}/api", os.getpid(), version("prefect"), is_ready=False)

    def end(*_: object) -> NoReturn:
        files.remove()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)  # uvicorn stops first, once it runs, and then raises the signal again
    files.write(state)
    os.environ |= server_environment(port, files.auth())
    app = KeptApp(
        _make_app(),
        files.use_lock,
        idle_s,
        on_ready=lambda: files.write(replace(state, is_ready=True)),
        on_end=files.remove,
    )
    _run(app, listener)


def _make_app() -> FastAPI:
    """Import Prefect's server and make its application; its database is created if there is none.

    Without collections of garbage, which find none here, the imports take a quarter less time.
    """
    gc.disable()
    from prefect.server.api.server import create_app

    from roost.deployments.local import sqlite_writer
    from roost.deployments.local.prefect_database import place_empty_database

    sqlite_writer.apply()
    place_empty_database()
    app = create_app()
    gc.freeze()
    gc.enable()
    return app


def _run(app: FastAPI | KeptApp, listener: socket.socket) -> NoReturn:
    """Serve until a signal comes, and end the process without the interpreter's clean-up, which takes a second."""
    import uvicorn

    config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=CONNECTIONS_TIMEOUT_S)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    sys.stderr.flush()
    os._exit(0 if server.started else START_FAILED)


if __name__ == "__main__":
    main()
