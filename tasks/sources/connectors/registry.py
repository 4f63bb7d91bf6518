"""The registry of connectors: the built-in ones, and those of installed packages, by the scheme of a source's URI.

All are named by entry points of the group `roost.sources`; the name of an entry point is the scheme. Those of the
built-in connectors stand here, as those of the built-in parsers do. One is loaded when a source needs it: a package
that cannot be imported harms only its own sources.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint

from roost.tasks.errors import ConfigurationError
from roost.tasks.sources.connectors.contract import Connector
from roost.tasks.sources.connectors.schemes import BUILT_IN, LOCAL, installed_entries, scheme_of
from roost.tasks.sources.entry_points import package_of
from roost.tasks.sources.foreign_errors import describe_error


def connector_for(uri: str) -> Connector:
    """Load the connector of a source; for URLs, one of an installed package takes the place of a built-in one.

    Raises:
        ConfigurationError: It cannot be loaded, or two packages have one for the scheme.
    """
    scheme = scheme_of(uri)
    known = BUILT_IN if scheme == LOCAL else installed_entries()  # to look for these takes longer than a local listing
    entries = [entry for entry in known if entry.name == scheme]
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
