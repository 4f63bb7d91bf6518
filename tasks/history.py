"""Evaluations kept: one folder an index, a JSON file and two Parquet files each, on disk or wherever fsspec writes.

They outlive the run, its worker and the Prefect server, and tables read them as they are. An evaluation is compared
with the last one of the same questions that missed nothing: a fall cannot become the measure of the next.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
from fsspec.core import url_to_fs

from tasks.errors import ConfigurationError

#: Evaluations that a trend shows.
TREND = 30
PASSED, MISSED, MEASURED = "passed", "missed", "measured"


def keep(folder: str, report: dict[str, Any], frames: dict[str, pl.DataFrame]) -> list[str]:
    """Write an evaluation: `<folder>/<index>/<stamp>.json`, and a Parquet file for each frame beside it.

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
    files = {f"{base}.json": b""} | {f"{base}-{name}.parquet": _parquet(frame) for name, frame in frames.items()
                                     if frame.height}  # fmt: skip
    report["files"] = list(files)
    files[f"{base}.json"] = json.dumps(report, ensure_ascii=False, indent=1).encode()
    try:
        for file, content in files.items():
            with fsspec.open(file, "wb", auto_mkdir=True) as stream:
                stream.write(content)
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be written: {error}") from None
    return list(files)


def read_history(folder: str, index: str) -> list[dict[str, Any]]:
    """Read the latest evaluations of an index, oldest first; what is no evaluation is passed over.

    Raises:
        ConfigurationError: The folder is there, but cannot be read.
    """
    place = f"{_place(folder)}/{index}"
    try:
        files, _ = url_to_fs(place)
        found = sorted(files.glob(f"{url_to_fs(place)[1]}/*.json"))[-TREND:]
        reports = [json.loads(files.cat_file(file)) for file in found]
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{place}: a file there is no JSON ({error}); move it away") from None
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be read: {error}") from None
    return [report for report in reports if report.get("index") == index and "quality" in report]


def baseline(history: list[dict[str, Any]], questions: str) -> dict[str, Any] | None:
    """Find the last evaluation of the same questions that missed no threshold.

    Args:
        history: Earlier evaluations, oldest first.
        questions: Fingerprint of what is asked.
    """
    comparable = [
        report for report in history
        if report["questions"]["fingerprint"] == questions and report["quality"] and report["verdict"] != MISSED
    ]  # fmt: skip
    return comparable[-1] if comparable else None


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


def _place(folder: str) -> str:
    return folder.rstrip("/") if "://" in folder else str(Path(folder).expanduser().absolute())


def _stamp(report: dict[str, Any]) -> str:
    moment = report["evaluated"].replace("-", "").replace(":", "").replace("+0000", "Z")
    return f"{moment}-{report['run_id'][:8]}"


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
