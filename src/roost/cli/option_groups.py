"""The groups in which help pages list options."""

from __future__ import annotations

from collections.abc import Mapping

#: Title of the group in which `--help` is.
OUTPUT = "Output"
#: Title of a group -> names of the parameters in it, in every command. Help pages list the groups in this order.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Schedule": ("every", "cron", "timezone", "name"),
    "Index and documents": (
        *("index", "version", "include", "exclude", "since", "until", "only", "uris", "only_failed"),
        *("retry_quarantined", "checksum", "force", "restart"),
    ),
    "Metadata": ("metadata_file", "metadata_patterns", "metadata_values", "metadata_forget"),
    "Tables and databases": ("id_column", "title_column", "text_column", "metadata_column", "cursor_column"),
    "Ranking": ("k", "where", "diverse", "fusion", "weight", "rerank", "by"),
    "Text of each hit": ("neighbours", "parent", "parent_tokens"),
    "The new version": ("sources", "fresh", "reuse", "model", "chunk_size", "chunk_overlap", "promote", "leave_out"),
    "Deletions": ("keep_missing", "max_delete_fraction", "allow_deletions", "delete_excluded"),
    "Questions and thresholds": ("questions", "split", "sample", "thresholds", "max_drop", "compare", "answers"),
    "Timings": ("timings", "counts", "latency_ms"),
    "The run": ("dry_run", "yes", "on_conflict", "shards", "pool"),
    "Servers": ("secret", "runs_at_once", "notify", "overwrite"),
    OUTPUT: ("only_print", "as_json", "verbose"),
}
#: Title of the group of options that are in no other.
OTHER_OPTIONS = "Other options"


def group_of(parameter: str) -> str:
    """Return the title of the group of a parameter."""
    return next((title for title, names in GROUPS.items() if parameter in names), OTHER_OPTIONS)
