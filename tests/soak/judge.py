"""What is compared in the end: the index as it is with that of a clean run, and all counts with what is allowed."""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.integration.crash import OF_THE_RUN

from roost.tasks.errors import InconsistentIndexError
from roost.tasks.milvus.expressions import one_of
from roost.tasks.milvus.store import open_store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import ledger
from roost.tasks.versions.live_version import require_live_version

Row = Mapping[str, Any]
_REASON = re.compile(r"encountered an exception: (\w+)")
#: Growth of a long-lived process that is no leak.
MAX_GROWTH_MB, MAX_GROWTH_FDS = 150, 64


@dataclass(frozen=True)
class IndexRows:
    """All rows of an index, as read.

    hidden: Rows that Milvus counts but does not return: of two rows of one key, a query returns one.
    repeated: Keys of such rows.
    """

    chunks: Sequence[Row]
    ledger: Sequence[Row]
    hidden: int = 0
    repeated: Sequence[str] = ()


@dataclass
class Losses:
    """How an index differs from a clean one.

    lost: Rows that are missing, differ from the clean ones, or whose write was not completed.
    duplicated: Rows beyond the first of their key.
    orphaned: Rows that a clean index has not.
    lines: Each in words.
    """

    lost: int = 0
    duplicated: int = 0
    orphaned: int = 0
    lines: list[str] = field(default_factory=list)


async def read_recipe(uri: str, index: str) -> Recipe:
    """Read how an index's live version was made."""
    async with open_store(Milvus(uri=uri)) as store:
        return (await require_live_version(store, index)).recipe


async def read_index(uri: str, index: str) -> IndexRows:
    """Read all rows of an index's live version and of its ledger."""
    async with open_store(Milvus(uri=uri)) as store:
        version = await require_live_version(store, index)
        chunks = [row async for page in store.read_pages(version.name, ["*"]) for row in page]
        rows = [row async for page in store.read_pages(version.ledger, list(ledger.ROW)) for row in page]
        hidden = await store.count(version.name) - len(chunks) + await store.count(version.ledger) - len(rows)
        keys = [(version.name, "id", str(row["id"])) for row in chunks] if hidden else []
        keys += [(version.ledger, "doc_id", str(row["doc_id"])) for row in rows] if hidden else []
        repeated = [key for name, column, key in keys if await store.count(name, one_of(column, [key])) > 1]
    return IndexRows(chunks, [row for row in rows if row["status"] != ledger.LEASE], hidden, repeated)


def compare(found: IndexRows, clean: IndexRows) -> Losses:
    """Compare an index with a clean one."""
    losses = Losses(duplicated=max(0, found.hidden))
    losses.lines += [f"{found.hidden} rows are counted by Milvus but not returned"] if found.hidden else []
    losses.lines += [f"row {key} is there more than once" for key in found.repeated]
    for kind, rows, others, key in (
        ("chunk", found.chunks, clean.chunks, "id"),
        ("ledger row", found.ledger, clean.ledger, "doc_id"),
    ):
        _compare(kind, rows, others, key, losses)
    unfinished = [row for row in found.ledger if row["status"] == ledger.WRITING]
    losses.lost += len(unfinished)
    losses.lines += [f"not committed: {row['uri']}" for row in unfinished]
    return losses


def _compare(kind: str, found: Sequence[Row], clean: Sequence[Row], key: str, losses: Losses) -> None:
    counted = Counter(str(row[key]) for row in found)
    mine, theirs = ({str(row[key]): row for row in rows} for rows in (found, clean))
    for name, count in counted.items():
        if count > 1:
            losses.duplicated += count - 1
            losses.lines.append(f"{kind} {name} is there {count} times")
    for name in sorted(theirs.keys() - mine.keys()):
        losses.lost += 1
        losses.lines.append(f"{kind} {name} of {theirs[name]['uri']} is missing")
    for name in sorted(mine.keys() - theirs.keys()):
        losses.orphaned += 1
        losses.lines.append(f"{kind} {name} of {mine[name]['uri']} should not be there")
    for name in sorted(mine.keys() & theirs.keys()):
        if wrong := list(_differing(mine[name], theirs[name])):
            losses.lost += 1
            losses.lines.append(f"{kind} {name} of {theirs[name]['uri']}: {'; '.join(wrong)}")


def _differing(found: Row, clean: Row) -> Iterator[str]:
    for name in sorted((found.keys() | clean.keys()) - OF_THE_RUN - {"vector"}):
        if found.get(name) != clean.get(name):
            yield f"{name} is {found.get(name)!r}, should be {clean.get(name)!r}"
    if "vector" in clean and np.abs(np.subtract(found["vector"], clean["vector"])).max() > 1e-5:
        yield "its vector differs"


def problems(report: Mapping[str, Any]) -> list[str]:
    """List what a soak must not end with, by its report."""
    said = [f"{name}: {report[name]}" for name in ("lost", "duplicated", "orphaned", "hung") if report[name]]
    if report["searches"]["empty"]:
        said.append(f"{report['searches']['empty']} searches did not find what they must")
    if not report["searches"]["ok"]:
        said.append("no search found anything")
    active = {state: count for state, count in report["runs"].items() if state in ("Running", "Pending", "Cancelling")}
    said += [f"{count} runs are still {state} in Prefect" for state, count in active.items()]
    for unit, most in (("rss", MAX_GROWTH_MB), ("fds", MAX_GROWTH_FDS)):
        start, end = (report[name] for name in (f"{unit}_start{_unit(unit)}", f"{unit}_end{_unit(unit)}"))
        said += [
            f"{unit} of the {name}: {start[name]} at the start, {end[name]} at the end"
            for name in start
            if end[name] - start[name] > most
        ]
    return said


def unexpected_failures(messages: Sequence[str]) -> list[str]:
    """Choose the failures of runs that no fault explains, by what Prefect says of them.

    These are errors of Python itself, by which a defect shows, and chunks that do not agree with their ledger.
    """
    reasons = ((message, _REASON.search(message)) for message in messages)
    return [f"a run failed: {message[:300]}" for message, reason in reasons if reason and _is_defect(reason[1])]


def _is_defect(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return name == InconsistentIndexError.__name__ or (isinstance(kind, type) and not issubclass(kind, OSError))


def _unit(name: str) -> str:
    return "_mb" if name == "rss" else ""
