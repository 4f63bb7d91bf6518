"""Which unchanged documents were read by another parser, or another version of it, than they would be read by now."""

from __future__ import annotations

import polars as pl

from roost.tasks.errors import REASONS
from roost.tasks.sources.connectors.items import ITEM_SCHEME
from roost.tasks.sources.parsers.identity import is_current
from roost.tasks.versions.ledger import INDEXED

#: The suffix of a path as `PurePosixPath.suffix` gives it.
_SUFFIX = r"[^/](\.[^./]+)$"
#: Reasons that a parser gave, and that another parser may not give.
_FINAL_REASONS = [reason for reason, retries in REASONS.items() if retries == 0]


def has_other_parser(documents: pl.DataFrame) -> pl.Series:
    """Tell of each listed document whether another parser than the one in its ledger row would read it.

    Rows of tables, and items that are text, have no parser. A document that no parser could read is tried again by the
    rules of its reason.

    Args:
        documents: Frame of `DOCUMENT` with `status`, `known_parser` and `known_reason` of the ledger, null where the
            document is new.
    """
    suffix = pl.col("uri").str.extract(_SUFFIX).fill_null("").str.to_lowercase()
    reason = pl.col("known_reason").str.split(":").list.first()
    was_parsed = (pl.col("known_parser") != "") | (pl.col("status") == INDEXED) | reason.is_in(_FINAL_REASONS)
    was_text = pl.col("location").str.starts_with(ITEM_SCHEME) & (pl.col("known_parser").fill_null("") == "")
    is_file = (pl.col("spool") == "") & (pl.col("reason") == "") & ~was_text
    is_compared = is_file & was_parsed.fill_null(value=False)
    compared = documents.select(suffix=suffix, recorded=pl.col("known_parser").fill_null(""), is_compared=is_compared)
    pairs = compared.filter("is_compared").select("suffix", "recorded").unique()
    is_other = [not is_current(recorded, f"file{suffix}") for suffix, recorded in pairs.iter_rows()]
    told = pairs.with_columns(is_other=pl.Series(is_other, dtype=pl.Boolean), is_compared=pl.lit(value=True))
    joined = compared.join(told, on=["suffix", "recorded", "is_compared"], how="left", maintain_order="left")
    return joined["is_other"].fill_null(value=False)
