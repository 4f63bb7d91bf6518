"""Write measurements into docs/capacity.md, their raw JSON into docs/measurements, and the picture of the long run.

python -m tests.benchmarks.scale.page RESULT.json...

The results are those of `make bench-scale`, `make bench-engines` and `make bench-lite`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.benchmarks.page import replace_section
from tests.benchmarks.scale.generator import ROOT
from tests.benchmarks.scale.picture import draw

Result = dict[str, Any]

DOCS = ROOT / "docs"
#: Rows at the start of a run from which it counts as a long one.
LONG_ROWS = 90_000
#: Processes whose CPU seconds a batch are shown.
_GROUPS = ("run", "workers", "prefect", "milvus")
#: Kind of a result -> the key that only such results have.
_KEYS = {"engines": "engines", "lite": "sizes", "transfers": "transfers"}


def write_result(result: Result, docs: Path = DOCS) -> None:
    """Write one result into the page and beside it.

    Raises:
        ValueError: It is the result of no benchmark that the page has a section for.
    """
    for kind in kinds_of(result):
        (docs / "measurements" / f"{kind}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        for name, make in _SECTIONS[kind].items():
            replace_section(docs / "capacity.md", name, f"{_facts(result, kind)}\n\n{make(result)}")
        if kind == "scale":
            (docs / "pictures" / "scale.svg").write_text(draw(result["write"]["samples"]), "utf-8")


def kinds_of(result: Result) -> list[str]:
    """Name what a result measures; a small run of `make bench-scale` counts for its transfers only."""
    kinds = [kind for kind, key in _KEYS.items() if key in result]
    if "catch_up" in result and result["write"]["first_rows"]["rows"] >= LONG_ROWS:
        kinds.append("scale")
    if not kinds:
        raise ValueError(f"a result with {', '.join(result)}: of no benchmark that docs/capacity.md shows")
    return kinds


def _facts(result: Result, kind: str) -> str:
    machine = result["machine"]
    return (
        f"{result['measured']}, `{result['command']}`, {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, load {machine.get('load_before', 'not noted')} before; "
        f"[raw JSON](measurements/{kind}.json)."
    )


def _table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" + "|---:" * (len(cells[0]) - 1) + "|", *lines[1:]])


def _scale(result: Result) -> str:
    write, catch_up = result["write"], result["catch_up"]
    first, last, rest, writing = (
        write["first_rows"],
        write["last_rows"],
        result["search_at_rest"],
        write["search_while_writing"],
    )
    span = f"{first['rows']:,} and last {last['rows']:,} rows"
    chunks = write["chunks"]["written"]
    rows = [
        ("chunks written, s", f"{chunks:,} in {write['s']:,.0f}: {chunks / write['s']:,.0f}/s", ""),
        (f"rows per second, first {span}", f"{first['rows_per_second']:,}, {last['rows_per_second']:,}", ""),
        (
            "the run's CPU of a row, the same, µs",
            f"{first['cpu_us_per_row']:.0f}, {last['cpu_us_per_row']:.0f}: {write['cpu_per_row_ratio']:.2f}",
            "<= 1.10",
        ),
        (
            "memory of the run, the same, MiB",
            f"{first['run_mb']}, {last['run_mb']}: {write['memory_ratio']:.2f}",
            "<= 1.10",
        ),
        ("memory of the server, after it and at most, MiB", f"{write['server_mb']:,}, {write['server_peak_mb']:,}", ""),
        ("until all is indexed, s", catch_up.get("indexed_s", "not in half an hour"), ""),
        ("until recall at 10 against exact search is 0.95, s", catch_up.get("recalled_s", "not in half an hour"), ""),
        ("recall at 10", catch_up["recall_at_10"], ">= 0.95"),
        ("search after the run, median and p99, ms", f"{rest['p50_ms']}, {rest['p99_ms']}", ""),
        ("search while writing, median and p99, ms", f"{writing['p50_ms']}, {writing['p99_ms']}", ""),
        ("p99 while writing by the median after the run", f"{writing['p99_ms'] / rest['p50_ms']:.1f}", "<= 5"),
        ("nightly run, 0.1 % of the documents changed, s", result["nightly"]["s"], "<= 90"),
        ("memory of it, MiB", f"{result['nightly']['run_mb']:.0f}", ""),
        ("`verify`, s", result["verify"]["s"], ""),
    ]
    picture = "![Rows per second, memory and processor time over the rows written](pictures/scale.svg)"
    return f"{_table(('what', 'measured', 'aim'), rows)}\n\n{picture}"


def _transfers(result: Result) -> str:
    found = result["transfers"]
    rows = [
        (f"`ingest` of {found['ingest']['chunks']['written']:,} chunks, s", found["ingest"]["s"]),
        ("`rebuild` without embedding, s", found["rebuild"]["s"]),
        ("`export`, s", found["export_s"]),
        ("`import`, s", found["import_s"]),
    ]
    return _table(("what", "measured"), rows)


def _lite(result: Result) -> str:
    sizes = result["sizes"]
    rows: list[tuple[Any, ...]] = [
        (f"{name}: s (CPU s)", *(f"{one[name]['s']:.1f} ({one[name]['cpu_s']:.1f})" for one in sizes))
        for name in result["passes"]
    ]
    rows += [
        ("`search`, median in an open index, ms", *(one["search in an open index"]["p50_ms"] for one in sizes)),
        ("filling, rows per second", *(f"{one['fill']['rows_per_second']:,}" for one in sizes)),
        ("memory of that, MiB", *(f"{one['fill']['mb']:,}" for one in sizes)),
        ("memory of `search`, MiB", *(f"{one['search']['mb']:,}" for one in sizes)),
        ("size of the file, MiB", *(f"{one['file_mb']:,.0f}" for one in sizes)),
    ]
    return _table(("chunks", *(f"{one['chunks']:,}" for one in sizes)), rows)


def _engines(result: Result) -> str:
    rows = [
        (
            one["engine"],
            one["workers"],
            one["batches_per_second"],
            one["between_s"],
            *(one["cpu_s_per_batch"].get(name, "") for name in _GROUPS),
            one["start_s"],
            one["end_s"],
        )
        for one in result["engines"]
    ]
    head = ["engine", "workers", "batches/s", "s beside the model", *(f"CPU s, {name}" for name in _GROUPS)]
    prefect = result["prefect"]
    said = (
        f"One Prefect server with SQLite recorded {prefect['recorded_per_second']} trivial task runs per second of "
        f"{prefect['clients']} clients with {prefect['at_once']} tasks at once ({prefect['recorded']:,} of "
        f"{prefect['task_runs']:,}), with {prefect['server_cpu_ms_per_task_run']} ms of its CPU for each and "
        f"{prefect['client_cpu_ms_per_task_run']} ms of the client's."
    )
    return f"{_table([*head, 'start, s', 'end, s'], rows)}\n\n{said}"


def _workers(result: Result) -> str:
    rows = [
        (
            one["engine"],
            one["task_runs_per_batch"],
            *(one["batches_per_second_at_most"].get(name, "") for name in ("prefect", "run")),
            one["batch_s_at_least"],
            f"{one['batch_chunks_at_least']:,}",
            one["batch_mib_at_least"],
        )
        for one in result["reckoned"]
    ]
    head = "engine, task runs of a batch, batches/s that Prefect takes, that the run hands out, s of a batch"
    return _table([*head.split(", "), "chunks of a batch", "MiB of a batch"], rows)


#: Kind -> sections of the page, each with what makes its text.
_SECTIONS: dict[str, dict[str, Any]] = {
    "scale": {"scale": _scale},
    "transfers": {"transfers": _transfers},
    "lite": {"lite": _lite},
    "engines": {"engines": _engines, "workers": _workers},
}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write_result(json.loads(Path(argument).read_text("utf-8")))
