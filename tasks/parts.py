"""Parts of an index: ranges of its documents by their ids, which are hashes, so that parts are of about one size."""

from __future__ import annotations

import polars as pl

#: Documents whose `doc_id` begins with a number (four hex digits) from the first up to, not including, the second.
Part = tuple[int, int]
#: All documents.
WHOLE: Part = (0, 1 << 16)


def part_of(number: int, count: int) -> Part:
    """Cut all documents into so many parts: the number'th, from 1."""
    return (number - 1) * WHOLE[1] // count, number * WHOLE[1] // count


def within(part: Part) -> pl.Expr:
    """Whether a frame's documents, by their column `doc_id`, are of a part."""
    first = pl.col("doc_id").str.slice(0, 4).str.to_integer(base=16)
    return pl.lit(value=True) if part == WHOLE else (first >= part[0]) & (first < part[1])
