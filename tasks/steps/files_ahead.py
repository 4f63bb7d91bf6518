"""Large files that a first run begins to load before its index is made (`FilesAhead`): their batch takes them over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from roost.tasks.steps.load_file import Outcome
from roost.tasks.steps.text_files import TextFile


class FilesAhead:
    """Files that are loaded ahead, by `doc_id` and hash of their content: each is parsed once in a run.

    Their text files must last until the batch has been cut.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        """Make it; files are taken up while it is open."""
        self._is_open = is_open
        self._outcomes: dict[tuple[str, str], asyncio.Future[Outcome | None]] = {}

    def close(self) -> None:
        """Take up no more files; those that are taken up are handed over once each."""
        self._is_open = False

    async def load(self, key: tuple[str, str], parse: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Give what parsing this file gave before, or what it gives now: a file that was refused is parsed again.

        Args:
            key: `doc_id` and hash of the content.
            parse: Parses the file.
        """
        if (other := self._outcomes.pop(key, None)) and (outcome := await asyncio.shield(other)):
            return outcome
        if not self._is_open:
            return await parse()
        taken_up = self._outcomes[key] = asyncio.get_running_loop().create_future()
        outcome = None
        try:
            outcome = await parse()
            return outcome
        finally:
            taken_up.set_result(outcome if outcome and isinstance(outcome.result, TextFile) else None)
