"""One secret of every kind is planted; none is found in anything that Roost writes, shows or passes on."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from tests.acceptance.conftest import ROOST
from tests.acceptance.postgres import add_reader, execute, postgres, programs
from tests.embedding_server import embedding_server
from tests.kept import Kept, kept_user

#: Setting or variable -> its value. What a command must send is sent to a server of this test only.
SECRETS = {
    "ROOST_MILVUS__TOKEN": "root:planted-milvus-token",
    "ROOST_EMBEDDING__API_KEY": "planted-embedding-key",
    "ROOST_EMBEDDING__OTHER_KEYS": json.dumps({"http://127.0.0.1:9/v1": "planted-other-key"}),
    "ROOST_LLM__API_KEY": "planted-llm-key",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=planted-azure-key",
    "PGPASSWORD": "planted-database-password",
    "PREFECT_API_KEY": "planted-prefect-key",
}
#: Sources whose URL has a secret: they are refused, and what says so does not repeat it.
URLS = [
    "https://reader:planted-url-password@127.0.0.1:9/a.md",
    "https://127.0.0.1:9/a.md?X-Amz-Signature=planted-signature&X-Amz-Expires=60",
    "s3://planted-user:planted-chain-password@store/a.zip",
    "postgresql://reader:planted-dsn-password@127.0.0.1:9/shop?table=notes",
    "https://127.0.0.1:9/hooks?token=planted-hook-token",
]


#: A package with a connector whose errors have its token in their text.
PLUG_IN = """
import os
from roost.sources import Content, Item, Metadata

class Notes:
    def list(self):
        yield Item("one", fingerprint="1")
        yield Item("gone", fingerprint="1")
        raise RuntimeError(f"401 for the token {os.environ['NOTES_TOKEN']}")

    def read(self, key):
        if key == "gone":
            raise FileNotFoundError(f"no {key} with {os.environ['NOTES_TOKEN']}")
        return Content("The token is known.", "text/plain")

    def metadata(self, key):
        return Metadata("Note", f"https://127.0.0.1:9/{key}")

class Connector:
    def connect(self, place):
        if "broken" in place.uri:
            raise ValueError(f"cannot enter with {os.environ['NOTES_TOKEN']}")
        return Notes()

CONNECTOR = Connector()
"""


def install_plug_in(folder: Path) -> Path:
    """Make a folder for PYTHONPATH with the package."""
    about = folder / "planted_notes-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "planted_notes.py").write_text(PLUG_IN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-notes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[roost.sources]\nnotes = planted_notes:CONNECTOR\n")
    return folder


class Processes:
    """Notes the arguments of all processes of a user, ten times a second, while it is open."""

    def __init__(self, user: Kept) -> None:
        self._mark, self._is_over = f"HOME={user.folder}\0".encode(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.arguments: set[bytes] = set()

    def __enter__(self) -> Processes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            for entry in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if self._mark in (entry / "environ").read_bytes():
                        self.arguments.add((entry / "cmdline").read_bytes())


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Kept]:
    with kept_user(tmp_path / "user", stand_in=False, idle_minutes=10) as made:
        yield made


def texts_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files below a folder: logs, databases with their journals, Milvus Lite's; tables also uncompressed."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield str(file), file.read_bytes()
            if file.suffix == ".parquet" and file.stat().st_size:
                with suppress(pl.exceptions.PolarsError):
                    yield str(file), str(pl.read_parquet(str(file)).to_dicts()).encode()


@pytest.mark.long
def test_no_secret_is_in_anything_that_roost_writes_shows_or_passes_on(user: Kept, cache: Path) -> None:
    docs = user.folder / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Tide\n\nThe tide turns at six.\n")
    (docs / "broken.docx").write_bytes(b"PK not really")
    key = SECRETS["ROOST_EMBEDDING__API_KEY"]
    with embedding_server(key=key) as endpoint, Processes(user) as processes:
        served = {"ROOST_EMBEDDING__BASE_URL": endpoint.uri, "ROOST_EMBEDDING__MODEL": "harbour-1"}
        rest = {"ROOST_EMBEDDING__TOKENIZER": "sentence-transformers/all-MiniLM-L6-v2", "HF_HUB_OFFLINE": "1"}
        # Nobody listens there: the key of the language model must not be in the error either.
        rest |= {"ROOST_LLM__BASE_URL": "http://127.0.0.1:9/v1", "ROOST_LLM__MODEL": "m", "ROOST_LLM__RETRIES": "0"}
        env = user.env | SECRETS | served | rest | {"XDG_CACHE_HOME": str(cache), "PREFECT_LOGGING_LEVEL": "DEBUG"}

        def roost(*words: str, **changed: str) -> str:
            done = subprocess.run(
                [ROOST, *words], cwd=user.folder, env=env | changed, capture_output=True, text=True, check=False
            )
            return f"{words[0]} {done.returncode}\n{done.stdout}{done.stderr}"

        shown = [
            roost("ingest", "docs", "--json"),
            roost("search", "When does the tide turn?", "--json"),
            roost("ask", "When does the tide turn?"),
            roost("status", "--json"),
            roost("versions", "--json"),
            roost("verify", "--json"),
            roost("doctor", "--json"),
            roost("export", "exported"),
            roost("ingest", "docs", ROOST_EMBEDDING__API_KEY="planted-wrong-key"),
            roost("status", ROOST_MILVUS__URI="http://127.0.0.1:9"),
        ]
        assert endpoint.embedded()  # the key was used
    assert shown[0].startswith("ingest 3"), shown[0]
    assert shown[7].startswith("export 0"), shown[7]
    refused = [roost("ingest", url) for url in URLS]  # after the look at arguments, which here have the URL
    assert all(text.startswith("ingest 2\n") for text in refused), refused
    shown += refused
    assert any(b"listener" in arguments for arguments in processes.arguments)
    time.sleep(1)  # until the server has written what it was sent
    places = {f"output {number} of {text.split()[0]}": text.encode() for number, text in enumerate(shown)}
    places |= {"arguments of a process": b"\n".join(processes.arguments)}
    places |= dict(texts_of(user.folder))
    assert any(name.endswith("prefect.db") for name in places)
    assert [name for name, data in places.items() if b"planted" in data] == []


@pytest.mark.long
def test_a_run_of_each_kind_of_source_keeps_none_of_its_secrets(user: Kept, cache: Path, tmp_path: Path) -> None:
    if programs() is None:
        pytest.skip("no PostgreSQL is installed here (Debian's package postgresql)")
    secret = "hunter2-of-a-source"
    shown: dict[str, str] = {}
    path = os.pathsep.join([str(install_plug_in(tmp_path / "plug-in")), os.environ.get("PYTHONPATH", "")])
    names = {"PGPASSWORD": secret, "NOTES_TOKEN": secret, "AWS_SECRET_ACCESS_KEY": secret, "PYTHONPATH": path}
    rest = {"XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PREFECT_LOGGING_LEVEL": "DEBUG"}

    def roost(*words: str, **changed: str) -> int:
        env = user.env | names | rest | changed
        done = subprocess.run([ROOST, *words], cwd=user.folder, env=env, capture_output=True, text=True, check=False)
        shown[" ".join(words).replace(secret, "")] = f"{done.stdout}{done.stderr}"
        return done.returncode

    with postgres(tmp_path / "postgres") as url, Processes(user) as processes:
        url = url.replace("+asyncpg", "")
        reader = add_reader(url, secret)
        execute(url, "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)", "GRANT SELECT ON notes TO reader")
        execute(url, "INSERT INTO notes VALUES (1, 'The tide turns at six.')")
        database, plug_in = f"{reader}?table=notes", "ours=notes://server/all"
        assert roost("ingest", database, plug_in, "--json") == 3, shown  # one note is gone, and the list breaks off
        report = json.loads(shown[f"ingest {database} {plug_in} --json"].splitlines()[-1])
        assert (report["documents"]["added"], report["documents"]["quarantined"]) == (2, 1)
        assert roost("ingest", database, "--json", PGPASSWORD=f"wrong-{secret}") == 2, shown
        assert roost("ingest", "notes://broken") == 2, shown
        assert roost("ingest", f"https://127.0.0.1:9/a.md?token={secret}") == 2, shown
        assert roost("ingest", database.replace("reader@", f"reader:{secret}@")) == 2, shown
        assert roost("versions", "--json") == roost("status", "--json") == roost("export", "exported") == 0, shown
    time.sleep(1)  # until the server has written what it was sent
    # The shell's own commands have what was typed; no process that they started has it.
    arguments = [words for words in processes.arguments if b"ingest\0" not in words]
    places = {command: text.encode() for command, text in shown.items()} | {"arguments": b"\n".join(arguments)}
    places |= dict(texts_of(user.folder))
    assert any(name.endswith("prefect.db") for name in places)
    assert any("roost.db" in name for name in places)
    assert [name for name, data in places.items() if secret.encode() in data] == []
