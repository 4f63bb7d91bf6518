"""Fixtures: real servers once a session, fresh names for each test."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tests import outside_milvus
from tests.shared import common_folder, shared

from roost.tasks.settings import set_library_defaults

set_library_defaults(quiet=True)  # before anything imports Prefect or Milvus Lite
# The programs that tests start keep Roost's compiled modules: to compile them takes each half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
#: Documents of the example handbook, and its file that takes three seconds to read, for lack of text.
HANDBOOK_DOCUMENTS = 51
SCAN = "first-winter.pdf"


#: Files whose tests run in one process, because they use what takes long to make; and the name of what they share.
_TOGETHER = {
    "tests/acceptance/test_deployments.py": "deployments",
    "tests/integration/test_crash.py": "crash",
    "tests/integration/test_crash_machine.py": "crash",
    "tests/integration/test_metadata_crash.py": "crash",
    "tests/integration/test_crash_servers.py": "crash of servers",
    "tests/integration/test_embedding_endpoint.py": "crash of servers",
    "tests/integration/test_framework_writes.py": "handbook",
    "tests/integration/test_frameworks.py": "handbook",
    "tests/integration/test_docs.py": "handbook",
    "tests/integration/test_answer.py": "handbook",
    "tests/integration/test_hostile.py": "handbook",
    "tests/integration/test_langchain_standard.py": "langchain",
    "tests/integration/test_engines.py": "PyTorch",
    "tests/integration/test_reranking.py": "PyTorch",
    "tests/unit/models/test_torch_device.py": "PyTorch",
    "tests/integration/test_evaluation.py": "evaluation",  # it looks at all collections that timings make
    "tests/integration/test_object_store.py": "object store",
    "tests/integration/test_databases.py": "PostgreSQL",
    "tests/acceptance/test_kept_prefect.py": "kept Prefect",
    "tests/integration/test_packaging.py": "wheel",
    "tests/integration/test_roles.py": "Milvus with roles",
    "tests/unit/test_imports.py": "syntax trees of all modules",
}


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


settings.register_profile("usual", max_examples=30, deadline=None)
settings.register_profile("long", max_examples=300, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-count", type=int, default=2_000, help="number of damaged documents of the long form")
    parser.addoption("--fuzz-seed", type=int, default=1, help="seed of the damaged documents of the long form")
    parser.addoption(
        "--long", action="store_true", help="run the long form: every matrix, more examples, 1,000 schedules"
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--long") else "usual")


def _is_long(item: pytest.Item) -> bool:
    """Whether a test or a case of it belongs to the long form only."""
    usual = item.get_closest_marker("usually")
    if usual is None or outside_milvus.URI:
        return item.get_closest_marker("long") is not None
    case = item.callspec.params  # type: ignore[attr-defined]
    [kind] = [case[name] for name in ("milvus", "handbook") if name in case]
    return kind != usual.args[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long form, if not asked for; put first what takes longest, so that all processes end together.

    With a Milvus server that was started elsewhere, only the tests that need a server are run.
    """
    if outside_milvus.URI:
        config.hook.pytest_deselected(items=[item for item in items if not outside_milvus.needs_server(item)])
        items[:] = filter(outside_milvus.needs_server, items)
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if _is_long(item)])
        items[:] = [item for item in items if not _is_long(item)]
    groups, folders = list(dict.fromkeys(_TOGETHER.values())), ("acceptance", "integration", "unit")

    def rank(item: pytest.Item) -> tuple[int, int]:
        group = _TOGETHER.get(_file(item.nodeid))
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return groups.index(group) if group else len(groups), folders.index(folder)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from modules: to look through all that the tests import takes it seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each test to the next free process, but for those that go together.

    Groups by mark (`--dist loadgroup`) do not hold with pytest 9.2: https://github.com/pytest-dev/pytest-xdist/issues/1386
    """
    from xdist.scheduler import LoadScopeScheduling

    class Spread(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _TOGETHER.get(_file(nodeid), nodeid)

    return Spread(config, log)


@pytest.fixture(scope="session")
def _empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where unit tests run that need no folder of their own: to make one takes longer than most of them."""
    folder = tmp_path_factory.mktemp("empty")
    yield folder
    assert not list(folder.iterdir()), "a test that writes into its working directory must ask for `tmp_path`"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder, its own if it has one, without the settings of the shell that runs it."""
    for name in [name for name in os.environ if name.startswith("ROOST_")]:
        monkeypatch.delenv(name)
    own = "tmp_path" in request.fixturenames or not request.path.is_relative_to(ROOT / "tests" / "unit")
    monkeypatch.chdir(request.getfixturevalue("tmp_path" if own else "_empty_folder"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared real documents; tests that need them skip where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"the shared documents are not here ({DATA})")
    return DATA


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Number and seed of the damaged documents."""
    return request.config.getoption("--fuzz-count"), request.config.getoption("--fuzz-seed")


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Milvus server of its own, on free ports, or the one that was started elsewhere: its URI."""
    if outside_milvus.URI:
        with outside_milvus.used_server(outside_milvus.URI) as uri:
            yield uri
        return
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")
    from roost.deployments.local.servers import milvus_standalone

    # Its session with its own etcd must outlive a stall of a busy machine. Fewer channels for writes, each of which
    # ticks all the time, and rarer garbage collections: while nothing is asked it takes 6 % of a core instead of 18 %.
    settings = {"COMMON_SESSION_TTL": "60", "ROOTCOORD_DMLCHANNELNUM": "2"}
    quick = partial(milvus_standalone, settings=settings | {"GOGC": "400"})
    with shared("milvus", tmp_path_factory, quick) as uri:
        yield uri


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server with its own database: the URL of its API."""
    from roost.deployments.local.servers import prefect_server

    with shared("prefect", tmp_path_factory, prefect_server) as uri:
        yield uri


@pytest.fixture(scope="session")
def prefect_api(prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same for flows that run in this process."""
    from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path_factory.mktemp("prefect")
    chosen = {PREFECT_API_URL: prefect, PREFECT_HOME: home, PREFECT_API_SSL_CERT_FILE: str(_one_authority(home))}
    with temporary_settings(chosen):
        yield prefect
        _send_logs()  # while the server is up: when it is gone, the process tries for a minute before it ends


def _one_authority(folder: Path) -> Path:
    """Write one certificate: a run makes three clients, and each reads the file of all, 0.03 s, for an http:// URL."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    (file := folder / "one.pem").write_text(Path(certifi.where()).read_text("utf-8").partition(end)[0] + end, "utf-8")
    return file


def _send_logs() -> None:
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for commands with a home of their own: exporting the model takes each of them ten seconds."""
    return common_folder(tmp_path_factory) / "cache"


@pytest.fixture(params=["lite", "standalone"])
def milvus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Milvus Lite in a fresh file, then the real server: the URI, set as Roost's."""
    uri = str(tmp_path / "roost.db") if request.param == "lite" else request.getfixturevalue("standalone")
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    return uri


@pytest.fixture
def lite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Milvus Lite in a fresh file: the URI, set as Roost's."""
    uri = str(tmp_path / "roost.db")
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    return uri


@pytest.fixture
def index(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh index name; what it named on the real server is dropped afterwards."""
    name = outside_milvus.fresh_name()
    yield name
    if "standalone" in request.fixturenames or "milvus" in request.fixturenames:
        _drop(name, request)


def _drop(index: str, request: pytest.FixtureRequest) -> None:
    from tests.drop import drop_version

    from roost.tasks.milvus.store import open_store
    from roost.tasks.settings import Milvus
    from roost.tasks.versions.promotion import version_statuses

    async def drop() -> None:
        async with open_store(Milvus(uri=request.getfixturevalue("standalone"))) as store:
            for standing in await version_statuses(store, index):
                await drop_version(store, standing.version)

    callspec = getattr(request.node, "callspec", None)
    if callspec is None or callspec.params.get("milvus") != "lite":
        asyncio.run(drop())


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of documents from their texts: `folder(**{"a.md": "# A"})`."""

    def make(name: str = "docs", /, **files: str | bytes) -> Path:
        for path, content in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return make
