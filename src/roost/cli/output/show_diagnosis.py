"""The output of `roost doctor`: versions, settings, and a line for each check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.deployments.doctor import Diagnosis

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def show_diagnosis(found: Diagnosis, *, with_settings: bool) -> None:
    """Show versions, settings and checks; problems are counted last.

    Args:
        found: The results.
        with_settings: Show settings at their defaults too.
    """
    versions = (f"{name} {version or 'not installed'}" for name, version in found.versions.items())
    out.print(", ".join(versions), soft_wrap=True)
    for setting in found.settings:
        if with_settings or setting.origin != "default":
            out.print(f"{setting.name}={setting.value}  ({setting.origin})", soft_wrap=True)
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        label = Text.assemble((f"{check.status.upper():<8}", _STYLES[check.status]), f"{check.name:<{width}}  ")
        out.print(label.append(check.found), soft_wrap=True)
        if check.remedy:
            out.print(f"{'':8}{'':{width}}  -> {check.remedy}", soft_wrap=True)
    problems = sum(check.status == "problem" for check in found.checks)
    out.print("no problem found" if not problems else f"{problems} problem{'s' if problems > 1 else ''} found")
