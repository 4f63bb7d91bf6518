"""A process that keeps one open index and searches it: `python -m tests.soak.searcher INDEX`.

Each line of standard input is JSON: `{"query": text, "reopen": whether to open the index anew before}`. The answer to
each is a line of JSON: `{"version", "found": [source/uri]}`, or `{"error"}`. It ends when its input ends.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Any

from roost.tasks.errors import RoostError
from roost.tasks.search.open_index import OpenIndex, open_index

K = 20


class Searcher:
    """Searches an index that stays open until it is to be opened anew, or could not be opened."""

    def __init__(self, index: str) -> None:
        self._index = index
        self._opened: OpenIndex | None = None
        self._open = ExitStack()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            if asked["reopen"] or self._opened is None:
                self.close()
                self._opened = self._open.enter_context(open_index(self._index))
            hits = self._opened.search(asked["query"], k=K)
        except RoostError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        found = [f"{hit.source}/{hit.uri.partition('#')[0]}" for hit in hits]
        return {"version": self._opened.version.name, "found": found}

    def close(self) -> None:
        self._opened = None
        self._open.close()


def main() -> None:
    """Answer until standard input ends."""
    searcher = Searcher(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(searcher.answer(json.loads(line))), flush=True)
    searcher.close()


if __name__ == "__main__":
    main()
