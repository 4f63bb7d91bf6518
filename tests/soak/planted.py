"""The command line with a defect: `python -m tests.soak.planted PLANT COMMAND ...`."""

from __future__ import annotations

import itertools
import sys
from typing import Any

from tests.soak.plants import LOST_EVERY, LOST_WRITE

from roost.cli.main import main


def lose_writes() -> None:
    """Have one write of chunks in `LOST_EVERY` write nothing."""
    from roost.tasks.milvus.store import Store

    write, calls = Store._upsert, itertools.count(1)

    async def losing(self: Store, collection: str, rows: list[dict[str, Any]]) -> int:
        is_chunks = "vector" in rows[0]
        if is_chunks and next(calls) % LOST_EVERY == 0:
            return len(rows)
        return await write(self, collection, rows)

    Store._upsert = losing  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == LOST_WRITE:
        lose_writes()
    del sys.argv[1]
    main()
