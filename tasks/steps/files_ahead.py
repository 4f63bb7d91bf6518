"""Large files that a first run begins to load before its index is made (`FilesAhead`): their batch takes them over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from roost.tasks.steps.load_file import Outcome
from roost.tasks.steps.text_files import TextFile

#: Parses a file, or takes over what another call gives for it. Awaited with the file's `doc_id`, the hash of its
#: content, and what parses it.
Share: TypeAlias = Callable[[str, str, Callable[[], Awaitable[Outcome]]], Awaitable[Outcome]]


class FilesAhead:
    """Files that are loaded ahead, by `doc_id` and hash of their content: each is parsed once in a run.

    Their text files must last until the batch has been cut.
    """

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], asyncio.Future[Outcome | None]] = {}
        #: Whether any file was parsed or taken over.
        self.is_used = False

    async def load_ahead(self, doc_id: str, content_hash: str, parse: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Parse a file before its batch does, as `Share`; what it gives is kept until the batch takes it over."""
        return await self._load((doc_id, content_hash), parse, is_kept=True)

    async def load(self, doc_id: str, content_hash: str, parse: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Parse a file for its batch, as `Share`, or take it over, once; one that was refused is parsed again."""
        return await self._load((doc_id, content_hash), parse, is_kept=False)

    async def _load(self, key: tuple[str, str], parse: Callable[[], Awaitable[Outcome]], *, is_kept: bool) -> Outcome:
        self.is_used = True
        if (other := self._outcomes.pop(key, None)) and (outcome := await asyncio.shield(other)):
            return outcome
        shared = self._outcomes[key] = asyncio.get_running_loop().create_future()
        outcome = None
        try:
            outcome = await parse()
            return outcome
        finally:
            is_read = outcome is not None and isinstance(outcome.result, TextFile)
            shared.set_result(outcome if is_read else None)
            if not (is_kept and is_read) and self._outcomes.get(key) is shared:
                del self._outcomes[key]


async def parse_alone(doc_id: str, content_hash: str, parse: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Parse a file that no other call parses, as `Share`."""
    return await parse()
