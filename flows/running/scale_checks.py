"""Checks before a run starts: whether the chosen engine and the shards can work here."""

from __future__ import annotations

from importlib.util import find_spec
from uuid import UUID

from prefect import runtime

from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running.command_server import has_lasting_server
from roost.flows.running.work_pool import check_room
from roost.tasks.errors import ConfigurationError, StoreError
from roost.tasks.milvus.store import Store
from roost.tasks.settings import Settings


def check_engine(settings: Settings) -> None:
    """Refuse an engine that cannot work here.

    Raises:
        ConfigurationError: It is not installed, or its workers have no Prefect server to report to.
        StoreError: The index is in a file, which one process at a time may write.
    """
    engine = settings.scale.engine
    if engine == "local":
        return
    setting = f"ROOST_SCALE__ENGINE={engine}"
    if find_spec(f"prefect_{engine}") is None:
        raise ConfigurationError(f"{setting} needs the package prefect-{engine}: pip install 'roost[cluster]'")
    _refuse_lite_file(settings, setting)
    if not has_lasting_server():
        raise ConfigurationError(
            f"{setting}: its workers report to a Prefect server; set PREFECT_API_URL (roost up starts a server)"
        )


async def check_shards(request: IngestRequest | BackfillRequest, settings: Settings) -> None:
    """Refuse shards that cannot run.

    Raises:
        ConfigurationError: There is no Prefect server, no deployment on it, or no place for a shard in its work pool.
        StoreError: The index is in a file, which one process at a time may write.
    """
    if request.shards == 1 or request.dry_run:
        return
    option = f"--shards {request.shards}"
    _refuse_lite_file(settings, option)
    if not has_lasting_server():
        raise ConfigurationError(f"{option}: set PREFECT_API_URL to a Prefect server with a work pool")
    parent = UUID(runtime.flow_run.id) if runtime.flow_run.id else None
    try:
        await check_room(settings.scale.deployment, parent)
    except ConfigurationError as error:
        raise ConfigurationError(f"{option}: {error}") from None


def refuse_lite(store: Store, choice: str) -> None:
    """Refuse several writers on Milvus Lite, in a file or served: concurrent writes damage its log.

    Args:
        store: Store to write.
        choice: Setting or option that asks for several writers, for the message.

    Raises:
        StoreError: The store is Milvus Lite.
    """
    if store.is_lite:
        raise _server_needed(choice)


def _refuse_lite_file(settings: Settings, choice: str) -> None:
    if settings.milvus.is_lite:
        raise _server_needed(choice)


def _server_needed(choice: str) -> StoreError:
    return StoreError(
        f"{choice}: Milvus Lite has one writer, several would damage its file; set ROOST_MILVUS__URI to a server "
        "(roost up starts one)"
    )
