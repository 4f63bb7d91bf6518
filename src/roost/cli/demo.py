"""The demonstration: the example handbook into Milvus Lite, then its own questions, with the right answers counted."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from roost.cli.terminal import out, shortened, show_report
from roost.flows.operations.search import search_index
from roost.flows.parameters import IngestRequest
from roost.flows.running.run import run_async
from roost.tasks.sources.listing import Source

#: Where a clone keeps the example corpus with its questions and judgments.
EXAMPLES = Path(str(files("roost"))) / "resources" / "examples"
INDEX = "handbook"
#: Questions that the table shows; all of them are asked and counted.
SHOWN = 12


def run_demo(examples: Path, run_ingest: Callable[..., tuple[str, dict[str, Any]]], *, watch: bool) -> dict[str, Any]:
    """Index the handbook, ask every question, and count those whose first hit is judged right."""
    request = IngestRequest(sources=[Source(uri=str(examples / "handbook"))], index=INDEX)
    if watch:
        out.print(f"Indexing {examples / 'handbook'} into Milvus Lite …")
    _, report = run_ingest(request, watch=watch)
    questions = pl.read_ndjson(examples / "questions" / "queries.jsonl", schema={"_id": pl.String, "text": pl.String})
    judged = _judgments(examples / "questions" / "qrels" / "test.tsv")
    asked = questions.filter(pl.col("_id").is_in(list(judged)))
    found = run_async(lambda: search_index(INDEX, asked["text"].to_list(), 5))
    rows = [
        {"question": text, "uri": hits[0].uri, "page": hits[0].page or None, "passage": hits[0].text,
         "right": hits[0].uri in judged[key]}
        for (key, text), hits in zip(asked.iter_rows(), found, strict=True)
    ]  # fmt: skip
    right = sum(row["right"] for row in rows)
    if watch:
        show_report(report)
        _show(rows, right)
    return {"ingest": report, "questions": len(rows), "right": right, "answers": rows}


def _judgments(file: Path) -> dict[str, set[str]]:
    """Read BEIR judgments: question id to the documents that answer it."""
    table = pl.read_csv(file, separator="\t", infer_schema=False)
    answered: dict[str, set[str]] = {}
    for question, document, grade in table.iter_rows():
        if int(grade) > 0:
            answered.setdefault(question, set()).add(document)
    return answered


def _show(rows: list[dict[str, Any]], right: int) -> None:
    table = Table("question", "first hit", "passage", "", title=f"{SHOWN} of {len(rows)} questions", show_lines=True)
    step = max(1, len(rows) // SHOWN)
    for row in rows[::step][:SHOWN]:
        place = f"{row['uri']}, page {row['page']}" if row["page"] else row["uri"]
        table.add_row(row["question"], place, shortened(row["passage"], 110), "✓" if row["right"] else "✗")
    out.print(table)
    out.print(f"The first hit is right for {right} of {len(rows)} questions. Ask your own:")
    out.print(f'  roost search "what do I wear to the summit?" --index {INDEX}', style="bold")
