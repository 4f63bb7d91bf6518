"""The command line with a defect: `python -m tests.soak.planted PLANT COMMAND ...`."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from tests.soak.plants import LOST_EVERY, LOST_WRITE

from roost.cli.main import main


def lose_writes() -> None:
    """Have one write of chunks in `LOST_EVERY`, chosen by the first chunk's text, write nothing."""
    from roost.tasks.milvus.store import Store

    write = Store._upsert

    async def losing(self: Store, collection: str, rows: list[dict[str, Any]]) -> int:
        chosen = hashlib.blake2b(rows[0].get("text", "").encode(), digest_size=4).digest()
        if "vector" in rows[0] and int.from_bytes(chosen) % LOST_EVERY == 0:
            return len(rows)
        return await write(self, collection, rows)

    Store._upsert = losing  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == LOST_WRITE:
        lose_writes()
    del sys.argv[1]
    main()
