"""`roost down`: end the servers of this user that run in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from roost.deployments.local.kept_prefect import end_server
from roost.deployments.local.kept_state import all_files
from roost.deployments.local.running_stack import end_stack, find_stack
from roost.tasks.errors import ConflictError, RunError


@dataclass(frozen=True)
class EndedServer:
    """What was ended.

    kind: `up`: all that `roost up` ran; `kept`: the Prefect server that a command kept.
    ui: Address of Prefect's UI.
    """

    kind: Literal["up", "kept"]
    ui: str


def end_servers(echo: Callable[[str], None]) -> list[EndedServer]:
    """End the stack of `roost up` as Ctrl-C does, and all kept servers that no command uses.

    Args:
        echo: Called with a line for each.

    Raises:
        ConflictError: A command uses one of them; the others are ended.
        RunError: One does not end, or its files cannot be read.
        ForeignFileError: A state file belongs to another user.
    """
    try:
        return _end_servers(echo)
    except OSError as error:
        raise RunError(f"cannot look for running servers: {error}") from None


def _end_servers(echo: Callable[[str], None]) -> list[EndedServer]:
    ended = []
    if stack := find_stack():
        echo(
            f"ending `roost up` with its Prefect server at {stack.ui}: its runs are cancelled, committed documents stay"
        )
        end_stack(stack)
        ended.append(EndedServer("up", stack.ui))
    in_use = []
    for files in all_files():
        try:
            ui = end_server(files)
        except ConflictError as error:
            in_use.append(error)
            continue
        if ui:
            echo(f"ended the Prefect server at {ui}")
            ended.append(EndedServer("kept", ui))
    if in_use:
        raise in_use[0]
    return ended
