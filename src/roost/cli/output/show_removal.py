"""The output of `roost forget` and `roost delete`: what goes, or went."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roost.flows.operations.removal import DeleteReport, ForgetReport


def describe_forgetting(report: ForgetReport) -> str:
    """Say in one line what is, or was, deleted of a source."""
    verb = "deleted" if report.deleted else "would delete"
    counts = f"{report.documents:,} documents, {report.chunks:,} chunks"
    return f"{report.index}: {verb} source {report.source!r} with {counts}"


def describe_deletion(report: DeleteReport) -> str:
    """Say in one line what of an index is, or was, dropped."""
    verb = "deleted" if report.dropped else "would delete"
    versions = f"{len(report.versions)} versions ({', '.join(report.versions) or 'only a ledger is left'})"
    counts = f"{report.documents:,} documents, {report.chunks:,} chunks"
    return f"{report.index}: {verb} the index in {report.milvus} with {versions}, {counts}"
