"""`make bench`: Roost beside what users would choose instead, as ratios within one run on one machine.

Each subject runs in a process of its own, one after another and then all again, so that a machine that slows down
slows all alike; medians are taken over the rounds. Before them Roost ingests one small document with each model, which
is not counted: the export of a model is made once and kept, and servers that have just started are slow. Prints a
table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.benchmarks.corpus import SCIFACT, markdown_folder, pdf_folder, prose_pdf_folder
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.page import write_page
from tests.benchmarks.rows import rows_of
from tests.conftest import ROOT
from tests.interruption import interruptible

from roost.deployments.local.servers import milvus_standalone, prefect_server

COMPARED = ("llamaindex", "langchain", "roost", "bare", "encode")
#: Ratio -> the two whose seconds are divided, the first by the second.
SECONDS_BY_SECONDS = {
    "llamaindex": ("llamaindex", "roost"),
    "langchain": ("langchain", "roost"),
    "llamaindex_int8": ("llamaindex", "roost_int8"),
    "langchain_int8": ("langchain", "roost_int8"),
    "bare_loop": ("bare", "roost"),
    "bare_loop_encode": ("encode", "roost"),
    "bare_loop_pdf": ("bare_pdf", "roost_pdf"),
    "bare_loop_prose": ("bare_prose", "roost_prose"),
}
PACKAGES = (
    "torch", "openvino", "sentence-transformers", "llama-index", "langchain-milvus", "pymilvus", "prefect", "milvus",
)  # fmt: skip

_screen = Console(stderr=True)


@interruptible("bench")
def main() -> None:
    """Measure, show, print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="more documents, three rounds, large memory and quality runs"
    )
    parser.add_argument("--only", nargs="+", choices=COMPARED, help="measure these on Markdown, and nothing else")
    parser.add_argument("--out", type=Path, help="also write the JSON object there")
    parser.add_argument("--page", action="store_true", help="also write the result into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as folder:
        result = _measure(Path(folder), full=options.full, only=options.only)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    if options.page:
        write_page(result)
    _show(result)
    print(json.dumps(result))


def _measure(folder: Path, *, full: bool, only: list[str] | None) -> dict[str, Any]:
    machine = describe_machine()
    markdown, name = markdown_folder(folder, 965 if full else 120)
    pdf, pdf_name = pdf_folder()
    prose = prose_pdf_folder(folder, folder / "all" if (folder / "all").is_dir() else markdown)
    rounds = 3 if full else 2
    with milvus_standalone(folder / "milvus") as milvus, prefect_server(folder / "prefect") as prefect:
        server = {"PREFECT_API_URL": prefect.uri, "ROOST_MILVUS__URI": milvus.uri}
        int8 = {"ROOST_EMBEDDING__MODEL": str(folder / "int8")}

        def subject(name: str, documents: Path, settings: dict[str, str] | None = None) -> dict[str, Any]:
            _screen.print(f"  {name} {'int8 ' if settings else ''}on {documents.name}", style="dim")
            return _run(["tests.benchmarks.subjects", name, str(documents)], server | (settings or {}))

        def part(name: str, **arguments: Any) -> dict[str, Any]:
            _screen.print(f"  {name} {arguments or ''}", style="dim")
            return _run(["tests.benchmarks.parts", name, json.dumps(arguments)], server)

        def measure_parts() -> dict[str, Any]:
            _screen.print("parts")
            parts: dict[str, Any] = {
                "searching": subject("searching", markdown),
                "loop": subject("flows", markdown),
                "hashing": part("hashing"),
                "writes": part("writes"),
                "search_lite": part("search", chunks=50_000 if full else 10_000, lite=True),
                "prefect": part("prefect_share"),
                "memory": [part("memory", documents=count) for count in ((5_000, 50_000) if full else (500, 2_500))],
            }
            if full and SCIFACT.is_dir():
                models = {"full": "", "int8": str(folder / "int8")}
                parts["quality"] = {each: part("quality", model=model) for each, model in models.items()}
            return parts

        calibration = {} if only else part("quantize", source=str(markdown), folder=str(folder / "int8"))
        first = folder / "first"
        first.mkdir()
        (first / "first.md").write_text("# First\n\nNot counted: it fills the caches.\n")
        for settings in (None,) if only else (None, int8):
            subject("roost", first, settings)
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for number in range(rounds):
            _screen.print(f"round {number + 1} of {rounds}")
            for each in only or COMPARED:
                runs[each].append(subject(each, markdown))
            if only:
                continue
            runs["roost_int8"].append(subject("roost", markdown, int8))
            for each in ("roost", "bare") if full or not number else ():
                runs[f"{each}_pdf"].append(subject(each, pdf))
                runs[f"{each}_prose"].append(subject(each, prose))
        parts = {} if only else {"int8": calibration, **measure_parts()}
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": _command(full=full, only=only),
        "machine": machine,
        "versions": {package: version(package) for package in PACKAGES},
        "corpus": {"markdown": name, "files": len(list(markdown.iterdir())), "pdf": pdf_name},
        "ratios": _ratios(runs, parts),
        "runs": runs,
        "parts": parts,
    }


def _command(*, full: bool, only: list[str] | None) -> str:
    options = " ".join([*(["--full"] if full else []), *(["--only", *only] if only else [])])
    return f'make bench FULL="{options}"' if " " in options else f"make bench{f' FULL={options}' if options else ''}"


def _ratios(runs: dict[str, list[dict[str, Any]]], parts: dict[str, Any]) -> dict[str, float]:
    def middle(name: str, what: str = "seconds") -> float:
        return statistics.median(run[what] for run in runs[name])

    ratios = {
        key: middle(other) / middle(one)
        for key, (other, one) in SECONDS_BY_SECONDS.items()
        if other in runs and one in runs
    }
    if "roost" in runs:
        first = middle("roost", "first_searchable_seconds")
        ratios |= {
            "first_searchable": first / middle("roost"),
            "first_searchable_seconds": first,
            "unchanged_seconds": middle("roost", "unchanged_seconds"),
        }
    if "last_page_seconds" in runs.get("roost_pdf", [{}])[0]:
        paged = middle("roost_pdf", "first_embedded_seconds") / middle("roost_pdf", "last_page_seconds")
        ratios["first_embedded"] = paged
    if parts:
        prefect = middle("roost", "batches") * parts["prefect"]["wall_ms_per_batch"] / 1000
        ratios |= {
            "loop_block_ms": parts["loop"]["longest_ms"],
            "prefect_share": prefect / middle("roost"),
            "search_lite_p50_ms": parts["search_lite"]["p50_ms"],
            "memory": parts["memory"][1]["peak_mb"] / parts["memory"][0]["peak_mb"],
        }
    if quality := parts.get("quality"):
        ratios["int8_ndcg_drop"] = quality["full"]["ndcg"] - quality["int8"]["ndcg"]
    return ratios


def _show(result: dict[str, Any]) -> None:
    """Draw the table: what was found beside what is aimed at."""
    machine, corpus = result["machine"], result["corpus"]
    documents = f"{corpus['files']} files of {corpus['markdown']}; {corpus['pdf']}"
    table = Table(
        title=f"{documents}; {machine['cores']} x {machine['cpu']}",
        title_justify="left",
    )
    for column in ("what", "measured", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows_of(result):
        table.add_row(*row)
    _screen.print(table)


def _run(command: list[str], settings: dict[str, str]) -> dict[str, Any]:
    """Run a module in a process of its own and read the JSON object it prints last."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], env=os.environ | settings, cwd=ROOT, capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{ended.stderr[-3000:]}")
    return dict(json.loads(ended.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    main()
