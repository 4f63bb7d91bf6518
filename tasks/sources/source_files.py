"""The files of a source: its folders are walked, links are followed as far as they may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from roost.tasks.sources.document_rows import storable
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.stall import note_progress


def walk_files(opened: OpenedSource, unlisted: list[str]) -> Iterator[dict[str, Any]]:
    """Yield fsspec's `info` of every file that matches the glob, in a stable order; skip hidden files and folders.

    Args:
        opened: The source.
        unlisted: Paths, relative to the source, of folders that cannot be listed; they are added.
    """
    folders = [opened.base]
    for current in folders:
        note_progress(current)
        for folder, subfolders, files in _list_level(opened, current, unlisted):
            shown = sorted(name for name in subfolders if not name.startswith(".") and name != "__pycache__")
            folders += [subfolders[name]["name"] for name in shown]
            for name, info in sorted(files.items()):
                path = f"{folder.rstrip('/')}/{name}" if folder else name
                note_progress(path)
                if not name.startswith(".") and (opened.pattern is None or opened.pattern.match(path)):
                    yield {**info, "name": path}


def _list_level(opened: OpenedSource, folder: str, unlisted: list[str]) -> list[Any]:
    """List one folder as fsspec's `walk` does; one that cannot be listed to its end is noted, and nothing of it listed.

    One level at a time, because fsspec omits the errors of deeper ones.
    """
    try:
        return list(opened.filesystem.walk(folder, maxdepth=1, detail=True, on_error="raise"))
    except Exception:  # noqa: BLE001  each filesystem raises its own exceptions, on any page of a listing
        unlisted.append(storable(relative_path(folder, opened.base)))
        return []


def follow_link(filesystem: Any, info: dict[str, Any]) -> dict[str, Any]:
    """Replace a link's type, size and time by its target's; a broken link stays a file, which `load` refuses."""
    try:
        return {**filesystem.info(info["name"]), "name": info["name"]} if info["type"] == "other" else info
    except OSError:
        return {**info, "type": "file"}


def leads_outside(opened: OpenedSource, info: dict[str, Any]) -> bool:
    """Whether a file is a link out of a local source's folder: anyone who can write there can set its target."""
    if opened.choices.follow_links or not (isinstance(opened.filesystem, LocalFileSystem) and info["islink"]):
        return False
    return not Path(os.path.realpath(info["name"])).is_relative_to(os.path.realpath(opened.base or "/"))


def is_empty(filesystem: Any, info: dict[str, Any]) -> bool:
    """Whether a file has 0 bytes; a broken link seems to, and `load` refuses it."""
    return info.get("size") == 0 and (not info.get("islink") or filesystem.isfile(info["name"]))


def relative_path(path: str, base: str) -> str:
    """Give the part of a path below the base of its source."""
    return path[len(base) :].lstrip("/") if path.startswith(base) else path
