"""Which connector a source's URI names: the names of entry points, without loading any."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from roost.tasks.locations import is_sitemap, local_path
from roost.tasks.sources.entry_points import package_of

GROUP = "roost.sources"
_ROOM = "roost.tasks.sources.connectors"
#: Scheme of local paths, and that of all URLs whose scheme no other connector has.
LOCAL, REMOTE = "file", "fsspec"
#: Name of the connector of web sites, whose URIs have the scheme of the web and end with the name of a sitemap.
SITEMAP = "sitemap"
BUILT_IN = tuple(
    EntryPoint(name, f"{_ROOM}.{module}:CONNECTOR", GROUP)
    for name, module in [
        *((LOCAL, "files"), (REMOTE, "files")),
        *(("sqlite", "databases"), ("postgresql", "databases"), ("llamaindex", "llama_index")),
        (SITEMAP, "web_sites"),
    ]
)


def scheme_of(uri: str) -> str:
    """Give the scheme that names the connector of a source's URI: `LOCAL` and `REMOTE` for files."""
    if local_path(uri) is not None:
        return LOCAL
    if is_sitemap(uri):
        return SITEMAP
    scheme = uri.partition("://")[0].lower()
    return scheme if scheme in {entry.name for entry in installed_entries()} else REMOTE


def lists_files(uri: str) -> bool:
    """Whether the documents of a source are files, so that its URI may have a glob."""
    return not is_sitemap(uri) and _lists_files(uri.partition("://")[0])


@cache
def _lists_files(scheme: str) -> bool:
    return scheme_of(f"{scheme}://") in (LOCAL, REMOTE)


def installed_entries() -> list[EntryPoint]:
    """List the entry points of connectors: those of installed packages first, then the built-in ones."""
    return [*sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, package_of(entry))), *BUILT_IN]
