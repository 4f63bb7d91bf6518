"""Roost keeps Milvus collections in step with sources of documents, run by Prefect.

    from roost import ingest, search

    report = ingest("./handbook", index="handbook")
    for hit in search("how long may I stay outside?", index="handbook", k=5, where="page > 0"):
        print(f"{hit.score:.3f}", hit.uri, hit.page, hit.text[:60])

Every function has two forms. `search`, `ingest`, `open_index` and `open_retriever` are for sync code, and refuse to be
called inside a running event loop. `asearch`, `aingest`, `aopen_index` and `aopen_retriever` take the same arguments,
are used with `await` or `async with`, and never block the running loop.

`import roost` imports nothing else: each name is imported when it is first used (PEP 562). It sets one environment
variable unless it is set: GRPC_VERBOSITY, which gRPC reads when it is imported.
"""

from __future__ import annotations

import os
from importlib import import_module

# Else gRPC prints `fork_posix` warnings into the output of scripts: other threads use it when a process forks.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

TYPE_CHECKING = False  # type checkers take it for true; importing typing would take longer than all the rest
if TYPE_CHECKING:
    from typing import Any

    from roost.api import aingest, asearch, ingest, search
    from roost.tasks.errors import (
        ConfigurationError,
        ConflictError,
        ModelError,
        RoostError,
        SourceError,
        StoreError,
        TransientError,
        UsageError,
    )
    from roost.tasks.search.hits import Hit, SearchOptions
    from roost.tasks.search.open_index import OpenIndex, aopen_index, open_index
    from roost.tasks.search.open_retriever import aopen_retriever, open_retriever
    from roost.tasks.steps.report import IngestReport

    __version__: str

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "Hit",
    "IngestReport",
    "ModelError",
    "OpenIndex",
    "RoostError",
    "SearchOptions",
    "SourceError",
    "StoreError",
    "TransientError",
    "UsageError",
    "__version__",
    "aingest",
    "aopen_index",
    "aopen_retriever",
    "asearch",
    "ingest",
    "open_index",
    "open_retriever",
    "search",
]

#: Public name to the module that defines it.
_HOMES = {
    **dict.fromkeys(("aingest", "asearch", "ingest", "search"), "roost.api"),
    **dict.fromkeys(("OpenIndex", "aopen_index", "open_index"), "roost.tasks.search.open_index"),
    **dict.fromkeys(("aopen_retriever", "open_retriever"), "roost.tasks.search.open_retriever"),
    **dict.fromkeys(("Hit", "SearchOptions"), "roost.tasks.search.hits"),
    "IngestReport": "roost.tasks.steps.report",
    **dict.fromkeys(
        (
            "ConfigurationError",
            "ConflictError",
            "ModelError",
            "RoostError",
            "SourceError",
            "StoreError",
            "TransientError",
            "UsageError",
        ),
        "roost.tasks.errors",
    ),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        value: Any = _installed_version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("roost")
    except PackageNotFoundError:  # imported from a clone that is not installed
        return "0+unknown"


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
