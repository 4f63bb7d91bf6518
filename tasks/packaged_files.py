"""URIs of the files that are installed with Roost: `roost://examples/handbook`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SCHEME = "roost://"


def resolve_packaged(uri: str) -> str:
    """Return the local path of a `roost://` URI; return any other URI or path unchanged.

    A deployment uses such a URI because the path of the installed files differs from machine to machine.
    """
    if not uri.startswith(SCHEME):
        return uri
    return str(Path(str(files("roost"))) / "resources" / uri.removeprefix(SCHEME))
