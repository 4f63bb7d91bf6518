"""The command `roost completion`, and the answers to a shell that asks how a command line may continue."""

from __future__ import annotations

import click

from roost.cli.command_help import command
from roost.cli.exit_codes import ExitCode
from roost.cli.shell_environment import COMPLETION_VARIABLE

SHELLS = ("bash", "zsh", "fish")


@command(
    examples=(
        "roost completion bash > ~/.local/share/bash-completion/completions/roost",
        "roost completion zsh > ~/.zfunc/_roost",
        "roost completion fish > ~/.config/fish/completions/roost.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), help="The shell that the script is for.")
def completion(*, shell: str) -> None:
    """Print the script that completes roost's commands.

    Commands, options, choices, files and names of indexes and schedules are completed. Or put this line into
    ~/.bashrc: eval "$(roost completion bash)". For zsh, fpath must contain the folder before compinit is called.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  click has all three
    click.echo(found(click.Command("roost"), {}, "roost", COMPLETION_VARIABLE).source(), nl=False)


def complete(app: click.Command, request: str) -> int:
    """Answer what a shell asks for; an error gives no completions."""
    from click.shell_completion import shell_complete

    try:
        return shell_complete(app, {}, "roost", COMPLETION_VARIABLE, request)
    except Exception:  # noqa: BLE001  a wrong setting, or a server that is away, must not write into the command line
        return ExitCode.FAILED
