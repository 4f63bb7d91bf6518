"""The files of a source: its folders are walked, links are followed as far as they may be."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from re import Pattern
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.stall import note_progress

_log = logging.getLogger(__name__)


def walk_files(
    filesystem: Any, base: str, pattern: Pattern[str] | None, unlisted: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield fsspec's `info` of every file that matches the glob, in a stable order; skip hidden files and folders.

    Args:
        filesystem: An `fsspec.AbstractFileSystem`.
        base: Path of the folder in it.
        pattern: Glob that paths must match; None for all.
        unlisted: Paths, relative to the folder, of folders that cannot be listed; they are added.
    """
    folders = [base]
    for current in folders:
        note_progress(current)
        for folder, subfolders, files in _list_level(filesystem, current, base, unlisted):
            shown = sorted(name for name in subfolders if not is_hidden(name))
            folders += [subfolders[name]["name"] for name in shown]
            for name, info in sorted(files.items()):
                path = f"{folder.rstrip('/')}/{name}" if folder else name
                note_progress(path)
                if not name.startswith(".") and (pattern is None or pattern.match(path)):
                    yield {**info, "name": path}


def is_hidden(name: str) -> bool:
    """Whether a folder of this name is not listed; nor are names that lead out of one."""
    return not name or name.startswith(".") or name == "__pycache__"


def _list_level(filesystem: Any, folder: str, base: str, unlisted: list[str]) -> list[Any]:
    """List one folder as fsspec's `walk` does; one that cannot be listed to its end is noted, and nothing of it listed.

    One level at a time, because fsspec omits the errors of deeper ones.
    """
    try:
        return list(filesystem.walk(folder, maxdepth=1, detail=True, on_error="raise"))
    except Exception as error:  # noqa: BLE001  each filesystem raises its own exceptions, on any page of a listing
        _log.warning("the folder %r could not be listed: %s", folder, describe_error(error))
        unlisted.append(relative_path(folder, base))
        return []


def follow_link(filesystem: Any, info: dict[str, Any]) -> dict[str, Any]:
    """Replace a link's type, size and time by its target's; a broken link stays a file, which `load` refuses."""
    try:
        return {**filesystem.info(info["name"]), "name": info["name"]} if info["type"] == "other" else info
    except OSError:
        return {**info, "type": "file"}


def leads_outside(filesystem: Any, base: str, info: dict[str, Any]) -> bool:
    """Whether a file is a link out of a local source's folder: anyone who can write there can set its target."""
    if not (isinstance(filesystem, LocalFileSystem) and info["islink"]):
        return False
    return not Path(os.path.realpath(info["name"])).is_relative_to(os.path.realpath(base or "/"))


def is_empty(filesystem: Any, info: dict[str, Any]) -> bool:
    """Whether a file has 0 bytes; a broken link seems to, and `load` refuses it."""
    return info.get("size") == 0 and (not info.get("islink") or filesystem.isfile(info["name"]))


def relative_path(path: str, base: str) -> str:
    """Give the part of a path below the base of its source."""
    return path[len(base) :].lstrip("/") if path.startswith(base) else path
