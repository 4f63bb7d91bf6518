"""The names of the schedules, read in limited time: for the completion of command lines."""

from __future__ import annotations

import asyncio

from roost.deployments.lasting_server import lasting_server

#: Time limit of all calls to the server together; a shell waits for them.
TIMEOUT_S = 2.0


def read_schedule_names() -> list[str]:
    """List the schedules of the Prefect server that keeps running, in order.

    Raises:
        NoServerError: There is none.
        TimeoutError: It does not answer.
    """
    with lasting_server():
        from roost.deployments.schedules import list_schedules

        async def read() -> list[str]:
            async with asyncio.timeout(TIMEOUT_S):
                return [each.name for each in await list_schedules()]

        return asyncio.run(read())
