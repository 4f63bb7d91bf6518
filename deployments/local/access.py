"""Addresses and passwords of the servers of `roost up`, kept in a file of export lines that a shell can read."""

from __future__ import annotations

import os
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from roost.deployments.local.private_files import write_private
from roost.deployments.local.server_process import HOST

#: Name of the file in the data folder.
FILE = "env"
#: Random bytes of a generated password.
PASSWORD_BYTES = 18
_EXPORT = "export "


@dataclass(frozen=True)
class Access:
    """What a client of the servers needs.

    variables: Environment variables for `roost`, the worker and its runs.
    file: The file that holds them; only its owner may read it.
    """

    variables: dict[str, str]
    file: Path

    @property
    def prefect_auth(self) -> str:
        """`user:password` of Prefect's API and UI."""
        return self.variables["PREFECT_API_AUTH_STRING"]

    @property
    def milvus_password(self) -> str:
        """Password of the user root of Milvus; empty if Milvus takes none."""
        return self.variables.get("ROOST_MILVUS__TOKEN", "").partition(":")[2]

    @property
    def prefect_ui(self) -> str:
        """Address of Prefect's UI."""
        return self.variables["PREFECT_API_URL"].removesuffix("/api")

    def export_lines(self) -> list[str]:
        """Return the lines of the file."""
        return [f"{_EXPORT}{name}={shlex.quote(value)}" for name, value in self.variables.items()]

    def read_command(self) -> str:
        """Return the command by which a shell reads the file, whatever its directory."""
        return f". {shlex.quote(str(self.file))}"


def prepare_access(data: Path, *, milvus_port: int, prefect_port: int, milvus_takes_password: bool) -> Access:
    """Create the data folder, and write the file; passwords are kept if it exists, else generated.

    The folder is made readable for its owner only, because Prefect's database holds the keys of its own secrets.

    Args:
        data: The data folder.
        milvus_port: Port of Milvus.
        prefect_port: Port of Prefect. Its password is PREFECT_SERVER_API_AUTH_STRING, if that is set.
        milvus_takes_password: Whether Milvus is the server; Milvus Lite takes no password.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data.resolve() / FILE
    known = _read(file)
    auth = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or known.get("PREFECT_API_AUTH_STRING")
    token = known.get("ROOST_MILVUS__TOKEN") or (generate_auth("root") if milvus_takes_password else "")
    variables = {
        "ROOST_MILVUS__URI": f"http://{HOST}:{milvus_port}",
        "ROOST_MILVUS__TOKEN": token,
        "ROOST_EVALUATION__FOLDER": str(data.resolve() / "evaluations"),
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_API_AUTH_STRING": auth or generate_auth("roost"),
    }
    access = Access({name: value for name, value in variables.items() if value}, file)
    comment = "# Addresses and passwords of `roost up`; read them in another terminal with `. FILE`.\n"
    write_private(file, comment + "".join(f"{line}\n" for line in access.export_lines()))
    return access


def generate_auth(user: str) -> str:
    """Make `user:password` with a new random password."""
    return f"{user}:{secrets.token_urlsafe(PASSWORD_BYTES)}"


def _read(file: Path) -> dict[str, str]:
    """Read the variables of a file that an earlier start has written; empty if there is none."""
    if not file.exists():
        return {}
    lines = (line.removeprefix(_EXPORT) for line in file.read_text("utf-8").splitlines() if line.startswith(_EXPORT))
    pairs = (line.partition("=") for line in lines)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}
