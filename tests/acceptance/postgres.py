"""A PostgreSQL server of its own for Prefect's database, where its programs are installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`: on the path, or where Debian puts them."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server on a free port of this host: the URL that Prefect takes."""
    bin_, data = programs(), folder / "data"
    assert bin_ is not None
    data.mkdir(parents=True)
    user = _owner(data, folder)
    subprocess.run(
        [bin_ / "initdb", "--auth=trust", "--username=prefect", "--no-sync", "-D", data],
        user=user,
        cwd=data,
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [bin_ / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data, "-c", "fsync=off"]
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(command, user=user, cwd=data, stdout=log, stderr=log)
    try:
        while True:
            ready = [bin_ / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
            if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                break
            assert server.poll() is None, (folder / "postgres.log").read_text()
            time.sleep(0.2)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # the fast way, with clients still there
        server.wait()


def execute(uri: str, *statements: str) -> None:
    """Execute statements, one after another."""

    async def run() -> None:
        connection = await asyncpg.connect(uri)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def add_reader(uri: str, password: str) -> str:
    """Add a role that enters by a password: the URL with which it does, without the password."""

    async def rules() -> Path:
        connection = await asyncpg.connect(uri)
        file = await connection.fetchval("SHOW hba_file")
        await connection.close()
        return Path(file)

    file = asyncio.run(rules())
    file.write_text("host all reader 127.0.0.1/32 scram-sha-256\n" + file.read_text("utf-8"), "utf-8")
    execute(uri, "SELECT pg_reload_conf()", f"CREATE ROLE reader LOGIN PASSWORD '{password}'")
    return uri.replace("prefect@", "reader@")


def _owner(data: Path, folder: Path) -> int | None:
    """PostgreSQL refuses root: give the folder to the user `postgres`, who must be able to reach it."""
    if os.getuid() != 0:
        return None
    user = pwd.getpwnam("postgres").pw_uid
    os.chown(data, user, -1)
    for parent in (folder, *folder.parents):
        if str(parent) not in ("/", "/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return user
