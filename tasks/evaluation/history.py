"""Stored evaluations: one folder per index with a JSON file and Parquet files per evaluation, on disk or by fsspec.

They outlive the run, its worker and the Prefect server, and other tools can read them. An evaluation is compared with
the last one of the same questions that passed, or else with the first one that was measured, so that a drop does not
become the baseline of the next evaluation.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import polars as pl
from fsspec.core import url_to_fs

from roost.tasks.errors import ConfigurationError
from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import Baseline, TrendPoint

#: Keys that every stored evaluation has, and the types of their values.
_REQUIRED = {"evaluated": str, "version": str, "verdict": str, "questions": dict, "quality": dict, "latency": dict}


@dataclass(frozen=True)
class StoredEvaluation:
    """An earlier evaluation, as far as later ones need it.

    index: Name of the index.
    fingerprint: That of its questions.
    quality: Measure to its estimate.
    thresholds: Measure to its minimum value.
    files: Where its results are.
    """

    index: str
    version: str
    evaluated: str
    verdict: str
    fingerprint: str
    quality: Mapping[str, Estimate]
    p95_ms: float | None
    thresholds: Mapping[str, float]
    max_drop: float | None
    files: tuple[str, ...]

    @classmethod
    def from_json(cls, content: bytes) -> StoredEvaluation | None:
        """Read a stored JSON file; None if it is not an evaluation.

        Evaluations were stored with `thresholds: {"min": {...}, "max_drop": ...}` before the two had keys of their own.
        """
        try:
            stored = json.loads(content)
            if not isinstance(stored, dict) or any(
                not isinstance(stored[key], kind) for key, kind in _REQUIRED.items()
            ):
                return None
            limits = stored.get("thresholds") or {}
            is_old = "min" in limits
            return cls(
                index=str(stored["index"]),
                version=stored["version"],
                evaluated=stored["evaluated"],
                verdict=stored["verdict"],
                fingerprint=str(stored["questions"].get("fingerprint", "")),
                quality={name: _estimate(values) for name, values in stored["quality"].items()},
                p95_ms=stored["latency"].get("p95_ms"),
                thresholds=dict(limits["min"] if is_old else limits),
                max_drop=limits.get("max_drop") if is_old else stored.get("max_drop"),
                files=tuple(map(str, stored.get("files") or ())),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    @property
    def baseline(self) -> Baseline:
        """The part that a report shows of the evaluation that it is compared with."""
        return Baseline(self.evaluated, self.version, self.quality)

    @property
    def trend_point(self) -> TrendPoint:
        """This evaluation in the trend."""
        main = self.quality.get(MAIN)
        return TrendPoint(
            evaluated=self.evaluated,
            version=self.version,
            questions=self.fingerprint,
            ndcg=main.value if main else None,
            p95_ms=self.p95_ms,
            verdict=self.verdict,
        )


def store_evaluation(folder: str, report: EvaluationReport, frames: Mapping[str, pl.DataFrame]) -> EvaluationReport:
    """Write an evaluation: `<folder>/<index>/<stamp>.json`, and a Parquet file for each frame beside it.

    The JSON file is written last and, on a disk, atomically: if it exists, the others do too.

    Args:
        folder: Folder of all evaluations: a path, or a URL that fsspec can write.
        report: The report; its `evaluated` and `run_id` name the files.
        frames: Tables that belong to it, by name; empty ones are left out.

    Returns:
        The report with its `files`, the JSON file first.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    base = f"{_place(folder)}/{report.index}/{_stamp(report)}"
    tables = {f"{base}-{name}.parquet": frame for name, frame in frames.items() if frame.height}
    file = f"{base}.json"
    report = replace(report, files=(file, *tables))
    try:
        for table, frame in tables.items():
            _write(table, _parquet(frame))
        content = json.dumps(report.as_dict(), ensure_ascii=False, indent=1).encode()
        if "://" in base:
            _write(file, content)
        else:
            _write(f"{file}.part", content)
            Path(f"{file}.part").replace(file)
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be written: {error}") from None
    return report


def read_history(folder: str, index: str) -> list[StoredEvaluation]:
    """Read the evaluations of an index, oldest first; files that are damaged or not evaluations are skipped.

    Raises:
        ConfigurationError: The folder exists, but cannot be read.
    """
    place = f"{_place(folder)}/{index}"
    try:
        files, _ = url_to_fs(place)
        contents = [files.cat_file(file) for file in sorted(files.glob(f"{url_to_fs(place)[1]}/*.json"))]
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        raise ConfigurationError(f"ROOST_EVALUATION__FOLDER={folder}: cannot be read: {error}") from None
    stored = map(StoredEvaluation.from_json, contents)
    return [evaluation for evaluation in stored if evaluation and evaluation.index == index]


def find_baseline(history: Sequence[StoredEvaluation], fingerprint: str) -> StoredEvaluation | None:
    """Find the last evaluation of the same questions that passed, or else the first one without a verdict.

    The first one, because each of several evaluations without thresholds may be slightly worse than the one before.

    Args:
        history: Earlier evaluations, oldest first.
        fingerprint: That of the questions.
    """
    return next(iter(baselines([evaluation for evaluation in history if evaluation.fingerprint == fingerprint])), None)


def baselines(history: Sequence[StoredEvaluation]) -> list[StoredEvaluation]:
    """Order evaluations by how well they serve as the baseline of any questions: see `find_baseline`."""
    passed = [evaluation for evaluation in history if evaluation.quality and evaluation.verdict == "passed"]
    measured = [evaluation for evaluation in history if evaluation.quality and evaluation.verdict == "measured"]
    return passed[::-1] + measured


def read_question_results(evaluation: StoredEvaluation) -> pl.DataFrame | None:
    """Read the per-question table of an earlier evaluation, a frame of `metrics.ANSWERED`; None if it is gone."""
    file = next((file for file in evaluation.files if file.endswith("-questions.parquet")), None)
    if file is None:
        return None
    try:
        with fsspec.open(file, "rb") as stream:
            return pl.read_parquet(io.BytesIO(stream.read()))
    except Exception:  # noqa: BLE001  deleted or damaged: there is nothing to compare with
        return None


def _estimate(values: Mapping[str, float]) -> Estimate:
    return Estimate(values["value"], values.get("low", values["value"]), values.get("high", values["value"]))


def _write(file: str, content: bytes) -> None:
    with fsspec.open(file, "wb", auto_mkdir=True) as stream:
        stream.write(content)


def _place(folder: str) -> str:
    return folder.rstrip("/") if "://" in folder else str(Path(folder).expanduser().absolute())


def _stamp(report: EvaluationReport) -> str:
    moment = report.evaluated.replace("-", "").replace(":", "").replace("+0000", "Z")
    return f"{moment}-{report.run_id[:8]}"


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
