"""The registry of connectors: the built-in ones, and those of installed packages, by the scheme of a source's URI.

All are named by entry points of the group `roost.sources`; the name of an entry point is the scheme. Those of the
built-in connectors stand here, as those of the built-in parsers do. One is loaded when a source needs it: a package
that cannot be imported harms only its own sources.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from urllib.parse import urlsplit

from roost.tasks.errors import ConfigurationError
from roost.tasks.foreign_errors import describe_error
from roost.tasks.locations import local_path
from roost.tasks.sources.connectors.contract import Connector

GROUP = "roost.sources"
_ROOM = "roost.tasks.sources.connectors"
#: Scheme of local paths, and that of all URLs whose scheme no other connector has.
LOCAL, REMOTE = "file", "fsspec"
BUILT_IN = tuple(
    EntryPoint(name, f"{_ROOM}.{module}:CONNECTOR", GROUP) for name, module in [(LOCAL, "files"), (REMOTE, "files")]
)


def scheme_of(uri: str) -> str:
    """Give the scheme of a source's URI that names its connector: of a chain of URLs and a local path, fsspec's."""
    if local_path(uri) is not None:
        return LOCAL
    scheme = urlsplit(uri.partition("::")[0]).scheme or uri.partition("://")[0]
    return scheme.lower() if any(entry.name == scheme.lower() for entry in installed_entries()) else REMOTE


def installed_entries() -> list[EntryPoint]:
    """List the entry points of connectors: those of installed packages first, then the built-in ones."""
    return [*sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, package_of(entry))), *BUILT_IN]


def connector_for(uri: str) -> Connector:
    """Load the connector of a source; one of an installed package takes the place of a built-in one.

    Raises:
        ConfigurationError: It cannot be loaded, or two packages have one for the scheme.
    """
    scheme = scheme_of(uri)
    entries = [entry for entry in installed_entries() if entry.name == scheme]
    packages = [package_of(entry) for entry in entries if entry.dist]
    if len(packages) > 1:
        raise ConfigurationError(
            f"the packages {' and '.join(packages)} both have a connector for {scheme}://: uninstall one of them"
        )
    return load_connector(entries[0])


def load_connector(entry: EntryPoint) -> Connector:
    """Load one connector.

    Raises:
        ConfigurationError: It cannot be imported, or is no connector; one line.
    """
    what = f"the connector {entry.name!r} of the package {package_of(entry)}"
    try:
        connector = entry.load()
    except Exception as error:  # noqa: BLE001  a plug-in may raise anything
        raise ConfigurationError(
            f"{what} cannot be loaded ({describe_error(error)}): upgrade or uninstall the package"
        ) from None
    if not isinstance(connector, Connector):
        raise ConfigurationError(f"{what} is no connector: {entry.value} lacks a part of roost.sources.Connector")
    return connector


def package_of(entry: EntryPoint) -> str:
    """Name the package that an entry point comes from."""
    return entry.dist.name if entry.dist else "roost"
