"""Three-way merge of a deployment: what the file said at the last deploy, what it says now, what the server has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: A value that one side does not have.
_ABSENT = object()


class Whole(dict[str, Any]):
    """A dictionary that is taken whole, because its keys belong together: the times of a schedule."""


@dataclass(frozen=True)
class Conflict:
    """A field that was changed on the server, and in the file to something else.

    field: Keys that lead to the value, joined by dots.
    file: The value of the file; None if the file removed it.
    server: The value of the server; None if it was removed there.
    """

    field: str
    file: Any
    server: Any


@dataclass
class Merged:
    """The result of a merge.

    value: What to deploy.
    kept: Fields that were changed on the server only.
    conflicts: Fields that were changed on both sides.
    """

    value: dict[str, Any] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)


def merge(base: dict[str, Any], file: dict[str, Any], server: dict[str, Any], *, prefer_file: bool = False) -> Merged:
    """Apply to the server's state what changed in the file, and keep what was changed on the server.

    Dictionaries are merged key by key, every other value and `Whole` is taken whole.

    Args:
        base: The state that the file described at the last deploy.
        file: The state that it describes now.
        server: The state on the server.
        prefer_file: Take the file's value of a field that was changed on both sides; by default the server's stays.
    """
    merged = Merged()
    merged.value = _merge_keys(base, file, server, "", merged, prefer_file)
    return merged


def _merge_keys(
    base: dict[str, Any], file: dict[str, Any], server: dict[str, Any], path: str, merged: Merged, prefer_file: bool
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in dict.fromkeys([*file, *server]):
        old, new, present = (side.get(key, _ABSENT) for side in (base, file, server))
        values[key] = _merge_value(old, new, present, f"{path}{key}", merged, prefer_file)
    return {key: value for key, value in values.items() if value is not _ABSENT}


def _merge_value(base: Any, file: Any, server: Any, path: str, merged: Merged, prefer_file: bool) -> Any:
    if isinstance(file, dict) and isinstance(server, dict) and not isinstance(file, Whole):
        return _merge_keys(base if isinstance(base, dict) else {}, file, server, f"{path}.", merged, prefer_file)
    if server in (file, base):
        return file
    if file == base:
        merged.kept.append(path)
    else:
        merged.conflicts.append(Conflict(path, *(None if each is _ABSENT else each for each in (file, server))))
        if prefer_file:
            return file
    return server
