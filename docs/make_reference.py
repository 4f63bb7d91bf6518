"""Write docs/reference from the code (commands, settings, parameters of flows, errors), and llms.txt from the pages.

`python docs/make_reference.py` writes the pages; a unit test refuses pages that differ from the code.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from unittest.mock import patch

from pydantic import BaseModel, SecretStr

from roost.cli.exit_codes import ExitCode
from roost.cli.main import COMMANDS, app
from roost.flows import parameters
from roost.tasks import errors
from roost.tasks.settings import PREFIX, Settings

DOCS = Path(__file__).parent
FOLDER = DOCS / "reference"
#: Flows and the models of their forms.
FORMS = {
    "ingest": parameters.IngestRequest,
    "backfill": parameters.BackfillRequest,
    "rebuild": parameters.RebuildRequest,
    "evaluation": parameters.EvaluationRequest,
    "verify": parameters.VerifyRequest,
}
#: What readers see instead of the names of Python's types.
KINDS: dict[Any, str] = {
    str: "text",
    SecretStr: "secret",
    int: "whole number",
    float: "number",
    bool: "yes or no",
    Path: "file",
    datetime: "time",
}
NOTE = "<!-- Written by docs/make_reference.py from the code. -->\n"


def pages() -> dict[str, str]:
    """Make all pages: file names and their text."""
    made = {"commands.md": _commands(), "settings.md": _settings(), "flows.md": _flows(), "errors.md": _errors()}
    return {name: f"{NOTE}\n{text}" for name, text in made.items()}


def llms_txt() -> str:
    """Make `llms.txt` (https://llmstxt.org): every page with its title and its first sentence, for language models."""
    lines = ["# Roost", "", f"> {app.help}", "", "## Pages", ""]
    for page in sorted(DOCS.rglob("*.md")):
        title, _, text = page.read_text("utf-8").removeprefix(NOTE).strip().partition("\n")
        words = " ".join(text.strip().partition("\n\n")[0].split())
        sentence = words.partition(". ")[0].rstrip(".:") if words[:1].isalnum() else ""
        lines.append(f"- [{title.lstrip('# ')}]({page.relative_to(DOCS)})" + (f": {sentence}" if sentence else ""))
    return "\n".join(lines) + "\n"


def _commands() -> str:
    parts = ["# Commands\n", f"{app.help}\n"]
    with patch.dict(os.environ, COLUMNS="100"):  # the help is as wide as the terminal
        for command in sorted(COMMANDS, key=lambda each: each.name or ""):
            context = command.context_class(command, info_name=f"roost {command.name}", **app.context_settings)
            with patch.object(command, "_help_option", None):  # click keeps it, with the names of its first context
                parts.append(f"## roost {command.name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _settings() -> str:
    parts = [
        "# Settings\n",
        "Environment variables, or lines of a file `.env` in the working directory. Every setting has a default. A "
        "name that does not exist is refused. `roost doctor --settings` shows every value and where it comes from.\n",
    ]
    for group, field in Settings.model_fields.items():
        model: type[BaseModel] = field.annotation  # type: ignore[assignment]
        parts += [f"## {group}\n", f"{_first_paragraph(model)}\n"]
        rows = ((f"`{PREFIX}{group}__{name}`".upper(), *_shown(each)) for name, each in model.model_fields.items())
        parts.append(_table(("setting", "values", "default", "meaning"), rows))
    return "\n".join(parts)


def _flows() -> str:
    parts = [
        "# Parameters of flows\n",
        "What the forms in the Prefect UI ask for, and what `prefect.yaml` and the API take, as `request`.\n",
    ]
    for flow, model in FORMS.items():
        parts += [f"## {flow}\n", f"{_first_paragraph(model)}\n"]
        rows = ((f"`{name}`", *_shown(each)) for name, each in model.model_fields.items())
        parts.append(_table(("parameter", "values", "default", "meaning"), rows))
    return "\n".join(parts)


def _shown(field: Any) -> tuple[str, str, str]:
    """Values, default and meaning of a field."""
    default = field.get_default(call_default_factory=True)
    empty = field.is_required() or default is None or default in ("", [], ()) or "Secret" in repr(default)
    return _kind(field.annotation), "" if empty else f"`{_value(default)}`", field.description or ""


def _value(default: Any) -> str:
    return (
        str(default.model_dump(mode="json", exclude_defaults=True)) if isinstance(default, BaseModel) else str(default)
    )


def _kind(annotation: Any) -> str:
    """Name the values of a type for readers who do not write Python."""
    kinds = [
        _kind(each) for each in get_args(annotation) if each is not type(None) and get_origin(annotation) is not Literal
    ]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" if value else "empty" for value in get_args(annotation))
    if get_origin(annotation) in (list, tuple):
        return f"list of {kinds[0]}"
    if get_origin(annotation) is dict:
        return f"{kinds[0]} to {kinds[1]}"
    return " or ".join(kinds) or KINDS.get(annotation) or str(annotation.__name__)


def _errors() -> str:
    parts = [
        "# Errors and exit codes\n",
        _table(("exit code", "name"), ((str(int(code)), code.name.lower().replace("_", " ")) for code in ExitCode)),
        "Every error that Roost raises is a `RoostError`; its message says what happened, to which value, and what to "
        "do.\n",
    ]
    tree = (errors.__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join([*parts, f"```text\n{tree}\n```\n"])


def _first_paragraph(thing: Any) -> str:
    return textwrap.dedent(thing.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    (DOCS / "llms.txt").write_text(llms_txt(), "utf-8")
