"""Imports run one way: deployments, then flows, then tasks; no step knows another."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("deployments", "flows", "tasks")
STEPS = {"discover", "load", "chunk", "embed", "index", "verify", "retrieve", "metrics", "timings", "report"}
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).glob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, wherever in it: modules, and names taken from packages."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively, which hides its layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file: Path) -> set[tuple[str, str]]:
    """(layer, module) of what a file imports of this project."""
    parts = (name.split(".") for name in imported(file))
    return {(name[0], name[1] if len(name) > 1 else "") for name in parts if name[0] in LAYERS}


def name_of(file: Path) -> str:
    return f"{file.parent.name}.{file.stem}"


def test_there_is_something_to_look_at() -> None:
    assert {file.parent.name for file in MODULES} == set(LAYERS)
    assert {file.stem for file in MODULES if file.parent.name == "tasks"} >= {"discover", "load", "chunk", "index"}
    assert ("tasks", "errors") in ours(ROOT / "tasks" / "load.py")


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_those_below(file: Path) -> None:
    above = LAYERS[: LAYERS.index(file.parent.name)]
    assert sorted(f"{layer}.{module}" for layer, module in ours(file) if layer in above) == []


@pytest.mark.parametrize("file", [file for file in MODULES if file.parent.name == "tasks"], ids=name_of)
def test_no_module_of_tasks_knows_prefect(file: Path) -> None:
    assert [name for name in imported(file) if name.split(".")[0] == "prefect"] == []


@pytest.mark.parametrize("file", [file for file in MODULES if file.parent.name == "tasks"], ids=name_of)
def test_no_module_of_tasks_imports_a_step(file: Path) -> None:
    steps = {module for layer, module in ours(file) if layer == "tasks" and module in STEPS}
    assert sorted(steps - {file.stem}) == []


def test_no_module_is_imported_in_a_circle() -> None:
    below = {file.stem: {module for layer, module in ours(file) if layer == "tasks"} for file in MODULES
             if file.parent.name == "tasks"}  # fmt: skip
    left = dict(below)
    while free := [name for name, needs in left.items() if not needs & left.keys() - {name}]:
        for name in free:
            del left[name]
    assert sorted(left) == []


@pytest.mark.parametrize("file", [file for file in MODULES if file.parent.name != "deployments"], ids=name_of)
def test_only_the_settings_read_the_environment(file: Path) -> None:
    if name_of(file) == "roost.tasks.settings":
        return
    uses = [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
    ]
    assert uses == []


@pytest.mark.parametrize("file", sorted((ROOT / "flows").glob("*.py")), ids=name_of)
def test_no_file_of_flows_hides_a_package_when_its_folder_is_on_the_path(file: Path) -> None:
    if file.stem != "__init__":
        assert importlib.util.find_spec(file.stem) is None


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_no_module_is_a_drawer(file: Path) -> None:
    assert file.stem not in ("utils", "helpers", "common", "misc")
