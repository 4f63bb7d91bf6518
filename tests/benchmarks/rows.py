"""The rows of a benchmark's table: what was measured beside what is aimed at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Key of a ratio -> words, format, aim, and the aim with `--full` where that is another.
ROWS: dict[str, tuple[str, ...]] = {
    "llamaindex": ("times as fast as LlamaIndex IngestionPipeline.arun", ".2f", ">= 3.3"),
    "langchain": ("times as fast as LangChain aindex", ".2f", ">= 3.3"),
    "llamaindex_int8": ("the same with an int8 model: LlamaIndex", ".2f", ">= 3.3"),
    "langchain_int8": ("the same with an int8 model: LangChain", ".2f", ">= 3.3"),
    "int8_ndcg_drop": ("nDCG@10 lost by int8, SciFact", ".4f", "<= 0.005"),
    "bare_loop": ("of the bare loop's speed, Roost's own engine", ".2f", ">= 0.80", ">= 0.90"),
    "bare_loop_encode": ("of the bare loop's speed, sentence-transformers' OpenVINO", ".2f", ">= 0.90"),
    "bare_loop_pdf": ("of the bare loop's speed, PDF with its parsing", ".2f", ">= 0.75"),
    "bare_loop_prose": ("the same, a PDF as long without tables", ".2f", ">= 0.85"),
    "first_embedded": (
        "first chunks of the PDF embedded, share of the time of parsing",
        ".2f",
        "< 1",
    ),
    "first_searchable": ("first chunks searchable, share of the run", ".3f", "<= 0.10"),
    "first_searchable_seconds": ("first chunks searchable, s", ".1f", "<= 3"),
    "unchanged_seconds": ("unchanged run, s", ".2f", "<= 2"),
    "loop_block_ms": ("longest block of the event loop in any flow, ms", ".0f", "<= 50"),
    "prefect_share": ("Prefect's calls, share of the run at most", ".3f", "<= 0.02"),
    "search_lite_p50_ms": ("search on Lite after a run, median ms", ".1f", "<= 10", "<= 50"),
    "memory": ("peak memory, large corpus by small one", ".2f", "<= 1.10"),
}


def rows_of(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Give words, measured value and aim of each ratio that the result has."""
    found, is_full = result["ratios"], "--full" in result["command"]
    for key, (words, unit, *aims) in ROWS.items():
        if key in found:
            yield words, f"{found[key]:{unit}}", aims[-1 if is_full else 0]
