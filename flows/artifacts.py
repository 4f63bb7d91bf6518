"""Artifacts of a run in the Prefect UI: the report as Markdown, the rejects as a table."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from tasks.report import SHOWN_REJECTS, as_markdown, headline, reject_rows, verification_line


async def publish(report: dict[str, Any], skipped: Counter[str], kind: str = "ingest") -> None:
    """Publish a run's report; one key an index and kind of run, so that they line up on its timeline."""
    key = _key(report["index"])
    await acreate_markdown_artifact(as_markdown(report, skipped), key=f"{kind}-{key}", description=headline(report))
    if rows := reject_rows(report):
        await acreate_table_artifact(rows, key=f"rejects-{key}", description=f"Not indexed in {report['index']}")


async def publish_verification(report: dict[str, Any]) -> None:
    """Publish what a verification found."""
    numbers = {name: value for name, value in report.items() if type(value) is int}
    table = f"| {' | '.join(numbers)} |\n|{' --: |' * len(numbers)}\n| {' | '.join(map(str, numbers.values()))} |"
    again = "".join(f"\n- {row['source']}/{row['uri']}" for row in report["to_redo"][:SHOWN_REJECTS])
    redo = f"\n\nDocuments that are off:\n{again}" if again else ""
    await acreate_markdown_artifact(
        "\n\n".join([verification_line(report), table, *report["next"]]) + redo, key=f"verify-{_key(report['index'])}"
    )


def _key(index: str) -> str:
    """Artifact keys are lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")
