"""Help pages: options in groups, examples last, and lines that fit narrow and wide terminals."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from roost.cli.option_groups import GROUPS, OTHER_OPTIONS, OUTPUT, group_of

#: Columns of the widest help page, and of the narrowest.
MAX_WIDTH, MIN_WIDTH = 100, 24
#: Columns below which an option's description stands under its name, not beside it.
MIN_WIDTH_OF_TWO_COLUMNS = 64
#: Options up to which they are one list without groups.
MAX_UNGROUPED = 6


class HelpFormatter(click.HelpFormatter):
    """Writes help as wide as the terminal; click's own has at least 50 columns."""

    def __init__(self) -> None:
        super().__init__(width=max(MIN_WIDTH, min(shutil.get_terminal_size().columns - 2, MAX_WIDTH - 2)))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms with their descriptions: beside them, or under them where the lines are short."""
        super().write_dl(rows, col_max if self.width >= MIN_WIDTH_OF_TWO_COLUMNS else 2, col_spacing)


class HelpfulCommand(click.Command):
    """A command whose help has its options in groups, and examples.

    examples: Command lines.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)

    def get_help(self, ctx: click.Context) -> str:
        """Write the help."""
        return write_help(self, ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in groups if there are many."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option) and not each.hidden]
        if len(options) <= MAX_UNGROUPED:
            super().format_options(ctx, formatter)
            return
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in (*GROUPS, OTHER_OPTIONS)}
        for option in options:
            if record := option.get_help_record(ctx):
                groups[OUTPUT if "--help" in option.opts else group_of(option.name or "")].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; their lines are not wrapped, so that they can be copied."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class CommandGroup(click.Group):
    """A group that lists its commands in sections, in the order in which they were added."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections: dict[str, list[str]] = {}

    def add_section(self, title: str, commands: Iterable[click.Command]) -> None:
        """Add commands under a title."""
        for each in commands:
            self.add_command(each)
            self._sections.setdefault(title, []).append(each.name or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of the commands."""
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Write the help."""
        return write_help(self, ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of the commands with their first lines."""
        length = max(map(len, self.commands))
        for title, names in self._sections.items():
            lines = ((f"{name:{length}}", self.commands[name].get_short_help_str(MAX_WIDTH)) for name in names)
            with formatter.section(title):
                formatter.write_dl(lines)


def write_help(command: click.Command, ctx: click.Context) -> str:
    """Write the help of a command."""
    formatter = HelpFormatter()
    command.format_help(ctx, formatter)
    return "\n".join(line.rstrip() for line in formatter.getvalue().splitlines())


def command(*, examples: Sequence[str], **options: Any) -> Callable[[Callable[..., Any]], HelpfulCommand]:
    """Make a function a command; `examples` as in `HelpfulCommand`, and click's options."""
    return click.command(cls=HelpfulCommand, examples=examples, **options)
