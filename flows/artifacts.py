"""Artifacts of a run in the Prefect UI: the report as Markdown, the rejects as a table."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from tasks.evaluation_report import as_markdown as evaluation_as_markdown
from tasks.evaluation_report import headline as evaluation_headline
from tasks.report import SHOWN_REJECTS, as_markdown, headline, rebuild_line, reject_rows, verification_line


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


async def publish_evaluation(report: dict[str, Any]) -> None:
    """Publish an evaluation; one key an index, so that evaluations line up on its timeline."""
    words = evaluation_headline(report)
    markdown = await asyncio.to_thread(evaluation_as_markdown, report)
    await acreate_markdown_artifact(markdown, key=f"evaluation-{_key(report['index'])}", description=words)


async def publish_rebuild(report: dict[str, Any]) -> None:
    """Publish what a rebuild came to: both versions' measures side by side, then what else there is to know."""
    quality = report["quality"]
    before, after = quality["before"] or {}, quality["after"] or {}
    rows = [f"| {name} | {_value(before, name)} | {_value(after, name)} |" for name in after]
    table = "\n".join([f"| {quality['questions']} | {report['before']} | {report['version']} |", "| :-- | --: | --: |",
                       *rows])  # fmt: skip
    parts = [f"# {report['index']}: {'promoted' if report['promoted'] else 'not promoted'}", rebuild_line(report)]
    parts += [f"Recipe: `{name}` {now!r}, was {then!r}." for name, (then, now) in report["changes"].items()]
    parts += [table] if rows else []
    parts += ["\n".join(["Missed:", "", *(f"- {line}" for line in report["missed"])])] if report["missed"] else []
    lost = [f"- {row['source']}/{row['uri']}: {row['reason']}" for row in report["lost"][:SHOWN_REJECTS]]
    parts += ["\n".join(["Searchable before, not any more:", "", *lost])] if lost else []
    await acreate_markdown_artifact("\n\n".join(parts), key=f"rebuild-{_key(report['index'])}")


def _value(measures: dict[str, Any], name: str) -> str:
    return f"{measures[name]['value']:.4f}" if name in measures else ""


def _key(index: str) -> str:
    """Artifact keys are lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")
