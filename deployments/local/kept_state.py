"""The files of one kept Prefect server in the user's state folder, and what they mean.

`alive.lock`: the server has an exclusive lock on it from before its start to its end, and is alive while it has it:
a file of a dead server, or a process id that now belongs to another program, cannot be mistaken for it.
`use.lock`: each command that uses the server has a shared lock on it. The server ends when it gets the exclusive one.
`start.lock`: locked for the moment in which a command finds out whether a server is alive, and starts one if not.
`server.json`: the server writes its address when it begins to start, and that it is ready.
`password`: `user:password` of its API and UI; it stays, so that a browser that has it once need not ask again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from roost.deployments.local.access import generate_auth
from roost.deployments.local.prefect_choice import PrefectChoice
from roost.deployments.local.private_files import private_folder, read_private, state_folder, write_private

_PREFIX = "prefect-"


@dataclass(frozen=True)
class ServerState:
    """What a kept server says of itself.

    url: URL of its API.
    pid: Its process id.
    prefect_version: Version of its Prefect.
    is_ready: Whether it answers already.
    """

    url: str
    pid: int
    prefect_version: str
    is_ready: bool

    @property
    def ui(self) -> str:
        """Address of its UI."""
        return self.url.removesuffix("/api")


@dataclass(frozen=True)
class StateFiles:
    """The files of one kept server."""

    folder: Path

    @property
    def alive_lock(self) -> Path:
        """Locked by the server."""
        return self.folder / "alive.lock"

    @property
    def use_lock(self) -> Path:
        """Locked by commands that use the server."""
        return self.folder / "use.lock"

    @property
    def start_lock(self) -> Path:
        """Locked while a command looks for the server."""
        return self.folder / "start.lock"

    @property
    def log(self) -> Path:
        """The server's log since its last start."""
        return self.folder / "server.log"

    @property
    def password_file(self) -> Path:
        """`user:password`."""
        return self.folder / "password"

    def auth(self) -> str:
        """Return `user:password`; a new one if there is none.

        Raises:
            ForeignFileError: The file belongs to another user, or others may read it.
        """
        auth = (read_private(self.password_file) or "").strip()
        if not auth:
            auth = generate_auth("roost")
            write_private(self.password_file, f"{auth}\n")
        return auth

    def read(self) -> ServerState | None:
        """Return what the server wrote; None if there is no such file, or it is no description of a server.

        Raises:
            ForeignFileError: The file belongs to another user, or others may read or write it.
        """
        try:
            return ServerState(**json.loads(read_private(self._state) or ""))
        except (ValueError, TypeError):
            return None

    def write(self, state: ServerState) -> None:
        """Write what the server says of itself."""
        write_private(self._state, json.dumps(asdict(state)))

    def remove(self) -> None:
        """Remove what the server wrote."""
        self._state.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        return self.folder / "server.json"


def files_of(choice: PrefectChoice) -> StateFiles:
    """Return the files of the server with one PREFECT_HOME and database; the folder is created.

    Raises:
        ForeignFileError: The folder belongs to another user, or others may write to it.
        OSError: It cannot be created.
    """
    private_folder(state_folder())
    return StateFiles(private_folder(state_folder() / f"{_PREFIX}{_key(choice)}"))


def preferred_port(choice: PrefectChoice, ports: range) -> int:
    """Return the port at which the server of a choice listens if it is free, so that its address stays the same."""
    return ports[int(_key(choice), 16) % len(ports)]


def all_files() -> Iterator[StateFiles]:
    """Yield the files of all kept servers of this user, running or not."""
    yield from (StateFiles(folder) for folder in sorted(state_folder().glob(f"{_PREFIX}*")) if folder.is_dir())


def _key(choice: PrefectChoice) -> str:
    parts = f"{os.geteuid()}\n{choice.home}\n{choice.database}"
    return hashlib.sha256(parts.encode()).hexdigest()[:8]
