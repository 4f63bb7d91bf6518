"""The names of the indexes, read in a moment: for the completion of command lines."""

from __future__ import annotations

import asyncio

from roost.tasks.milvus.lite_aliases import read_lite_aliases
from roost.tasks.settings import Milvus, load_settings
from roost.tasks.versions.names import VERSION_NAME, is_index_name

#: Time limit of a call to a server; a shell waits for it.
TIMEOUT_S = 2.0


def read_index_names() -> list[str]:
    """List the indexes of the Milvus of the settings, in order.

    Raises:
        RoostError: A setting is wrong, or the server does not answer.
    """
    settings = load_settings().milvus
    if settings.is_lite:
        return [name for name in read_lite_aliases(settings) if is_index_name(name)]
    return asyncio.run(_read_from_server(settings.model_copy(update={"timeout": TIMEOUT_S})))


async def _read_from_server(settings: Milvus) -> list[str]:
    """Name the indexes of the versions there: one call, where to look up their aliases takes one for each."""
    from roost.tasks.milvus.light_import import import_for_command

    import_for_command(is_lite=False)
    from roost.tasks.milvus.lock_wait import LeaseOwner
    from roost.tasks.milvus.store import open_store

    async with open_store(settings, create=False, owner=LeaseOwner("roost completion")) as store:
        found = [VERSION_NAME.fullmatch(name) for name in await store.list_collections()]
        return sorted({match["index"] for match in found if match})
