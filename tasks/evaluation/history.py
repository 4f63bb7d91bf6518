"""Evaluations kept: one folder an index, a JSON file and two Parquet files each, on disk or wherever fsspec writes.

They outlive the run, its worker and the Prefect server, and tables read them as they are. An evaluation is compared
with the last one of the same questions that passed, or, before any has, with the first: no fall becomes the measure
of the next.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
from fsspec.core import url_to_fs

from roost.tasks.errors import ConfigurationError

PASSED, MISSED, MEASURED = "passed", "missed", "measured"
#: What an evaluation has at least, and of what type.
_NEEDED = {"evaluated": str, "version": str, "verdict": str, "questions": dict, "quality": dict, "latency": dict}


def keep(folder: str, report: dict[str, Any], frames: dict[str, pl.DataFrame]) -> list[str]:
    """Write an evaluation: `<folder>/<index>/<stamp>.json`, and a Parquet file for each frame beside it.

    The JSON file comes last, and on a disk as a whole: where it is, the others are.

    Args:
        folder: Of all evaluations.
        report: What was measured; its `evaluated` and `run_id` name the files. Noted in it are its `files`.
        frames: Tables that belong to it, by name; empty ones are left out.

    Returns:
        Where the files are, the JSON file first.

    Raises:
        ConfigurationError: Nothing can be written there.
    """
    base = f"{_place(folder)}/{report['index']}/{_stamp(report)}"
    tables = {f"{base}-{name}.parquet": frame for name, frame in frames.items() if frame.height}
    files = [f"{base}.json", *tables]
    report["files"] = files
    try:
        for file, frame in tables.items():
            _write(file, _parquet(frame))
        content = json.dumps(report, ensure_ascii=False, indent=1).encode()
        if "://" in base:
            _write(files[0], content)
        else:
            _write(f"{files[0]}.part", content)
            Path(f"{files[0]}.part").replace(files[0])
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be written: {error}") from None
    return list(files)


def read_history(folder: str, index: str) -> list[dict[str, Any]]:
    """Read the evaluations of an index, oldest first; what is no evaluation, or damaged, is passed over.

    Raises:
        ConfigurationError: The folder is there, but cannot be read.
    """
    place = f"{_place(folder)}/{index}"
    try:
        files, _ = url_to_fs(place)
        contents = [files.cat_file(file) for file in sorted(files.glob(f"{url_to_fs(place)[1]}/*.json"))]
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be read: {error}") from None
    return [report for content in contents if (report := _parsed(content)) and report.get("index") == index]


def baseline(history: list[dict[str, Any]], questions: str) -> dict[str, Any] | None:
    """Find the last evaluation of the same questions that passed; where none has, the first that was measured.

    The first, because each of several of which nothing was asked may be a little worse than the one before.

    Args:
        history: Earlier evaluations, oldest first.
        questions: Fingerprint of what is asked.
    """
    same = [one for one in history if one["questions"].get("fingerprint") == questions and one["quality"]]
    passed = [one for one in same if one["verdict"] == PASSED]
    measured = [one for one in same if one["verdict"] == MEASURED]
    return passed[-1] if passed else measured[0] if measured else None


def read_questions_of(report: dict[str, Any]) -> pl.DataFrame | None:
    """Read the per-question table of an earlier evaluation; None when it is no longer there."""
    file = next((file for file in report.get("files", []) if file.endswith("-questions.parquet")), None)
    if file is None:
        return None
    try:
        with fsspec.open(file, "rb") as stream:
            return pl.read_parquet(io.BytesIO(stream.read()))
    except Exception:  # noqa: BLE001  gone or damaged: it can be compared no more
        return None


def _write(file: str, content: bytes) -> None:
    with fsspec.open(file, "wb", auto_mkdir=True) as stream:
        stream.write(content)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(content)
    except ValueError:
        return None
    if not isinstance(report, dict) or any(not isinstance(report.get(key), kind) for key, kind in _NEEDED.items()):
        return None
    return report


def _place(folder: str) -> str:
    return folder.rstrip("/") if "://" in folder else str(Path(folder).expanduser().absolute())


def _stamp(report: dict[str, Any]) -> str:
    moment = report["evaluated"].replace("-", "").replace(":", "").replace("+0000", "Z")
    return f"{moment}-{report['run_id'][:8]}"


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
