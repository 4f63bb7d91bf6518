"""Imports run downwards: between layers, between the rooms of `tasks` and of `flows`; each rule is one test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = {
    "cli": ROOT / "src/roost/cli",
    "deployments": ROOT / "deployments",
    "flows": ROOT / "flows",
    "tasks": ROOT / "tasks",
}

#: Which room may import which others; `root` stands for the modules that lie directly in a layer's folder.
TASKS = {
    "root": set(),
    "sources": {"root"},
    "models": {"root"},
    "milvus": {"root"},
    "versions": {"root", "sources", "models", "milvus"},
    "steps": {"root", "sources", "models", "milvus", "versions"},
    "search": {"root", "sources", "models", "milvus", "versions"},
    "evaluation": {"root", "sources", "models", "milvus", "versions", "steps", "search"},
    "prefect_tasks": {"root", "sources", "models", "milvus", "versions", "steps", "search", "evaluation"},
}
FLOWS = {"parameters": set(), "operations": {"parameters"}, "running": {"parameters", "operations"}}
FLOWS["root"] = {"parameters", "operations", "running"}
#: Which layer may import which others.
BELOW = {
    "cli": {"deployments", "flows", "tasks"},
    "deployments": {"flows", "tasks"},
    "flows": {"tasks"},
    "tasks": set(),
}
#: Modules that may read the environment: the settings, and what is asked before they are imported.
READ_THE_ENVIRONMENT = ("tasks.settings", "cli.shell_environment")
#: Names of modules that stand in strings, where no import statement shows them.
NAMED_IN_STRINGS = [
    "roost.tasks.worker_imports", "roost.tasks.steps.load", "roost.tasks.steps.cut",  # workers.py
    "roost.tasks.evaluation.delay_proxy", "roost.tasks.milvus.lite_patches",  # -m and -c of child processes
    "roost.flows.ingest", "roost.flows.backfill", "roost.flows.rebuild", "roost.flows.evaluation",  # prefect.yaml
    "roost.flows.verify", "roost.flows.shard", "roost.deployments.prefect_setup",
    "roost.deployments.local.prefect_program", "roost.deployments.local.prefect_child",  # -m of Prefect servers
    "roost.tasks.models",  # the logger of the command line's notices
]  # fmt: skip


def name_of(file: Path) -> str:
    """`tasks.milvus.store` of `tasks/milvus/store.py`."""
    layer = next(layer for layer, folder in LAYERS.items() if file.is_relative_to(folder))
    return ".".join([layer, *file.relative_to(LAYERS[layer]).with_suffix("").parts])


MODULES = {name_of(file): file for folder in LAYERS.values() for file in sorted(folder.rglob("*.py"))}


@cache
def nodes(module: str) -> list[ast.AST]:
    """The nodes of a module's syntax tree that the rules are about: imports and attributes."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute)]


def imported(module: str) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it: modules, and names taken from packages."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively, which hides its layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def ours(module: str) -> frozenset[str]:
    """The modules of this project that a module imports, without `roost.` before them."""
    names = {name.removeprefix("roost.") for name in imported(module) if name.startswith("roost.")}
    return frozenset(
        next((part for part in (name, name.rpartition(".")[0]) if part in MODULES), name) for name in names
    )


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[:2] == ["flows", "parameters"]:
        return "parameters"
    return parts[1] if len(parts) > 2 else "root"


def crossings(layer: str, table: dict[str, set[str]]) -> list[str]:
    """Imports between rooms of a layer that the table does not allow."""
    mine = [module for module in MODULES if module.startswith(f"{layer}.") and not module.endswith("__init__")]
    pairs = [(module, other) for module in mine for other in ours(module) if other.startswith(f"{layer}.")]
    return sorted(
        f"{module} -> {other}"
        for module, other in pairs
        if room_of(module) != room_of(other) and room_of(other) not in table[room_of(module)]
    )


def test_there_is_something_to_look_at() -> None:
    assert {module.partition(".")[0] for module in MODULES} == set(LAYERS)
    assert {room_of(module) for module in MODULES if module.startswith("tasks.")} == set(TASKS)
    assert "tasks.errors" in ours("tasks.steps.load")


def test_a_layer_imports_only_those_below_it() -> None:
    pairs = [(module, other) for module in MODULES for other in ours(module) if other.partition(".")[0] in LAYERS]
    layers = [(module, other, module.partition(".")[0], other.partition(".")[0]) for module, other in pairs]
    assert [f"{module} -> {other}" for module, other, a, b in layers if a != b and b not in BELOW[a]] == []


def test_rooms_of_tasks_import_only_those_below_them() -> None:
    assert crossings("tasks", TASKS) == []


def test_rooms_of_flows_import_only_those_below_them() -> None:
    assert crossings("flows", FLOWS) == []


def test_no_module_is_imported_in_a_circle() -> None:
    left = {module: ours(module) & MODULES.keys() - {module} for module in MODULES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert sorted(left) == []


def test_only_the_room_of_prefect_tasks_knows_prefect() -> None:
    knows = [
        module
        for module in MODULES
        if module.startswith("tasks.") and room_of(module) != "prefect_tasks"
        if any(name.split(".")[0].startswith("prefect") for name in imported(module))
    ]
    assert knows == []


def test_only_the_settings_read_the_environment() -> None:
    uses = [
        f"{module}:{node.lineno}"
        for module in MODULES
        if module.partition(".")[0] in ("tasks", "flows", "cli") and module not in READ_THE_ENVIRONMENT
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
    ]
    assert uses == []


def test_no_module_is_a_drawer() -> None:
    drawers = ("utils", "helpers", "common", "misc")
    assert [module for module in MODULES if module.rpartition(".")[2] in drawers] == []


def test_every_room_says_what_it_is_for_and_no_more() -> None:
    rooms = [file for module, file in MODULES.items() if module.endswith("__init__")]
    wrong = [
        str(file.relative_to(ROOT))
        for file in rooms
        if not ((body := ast.parse(file.read_text("utf-8")).body) and len(body) == 1 and isinstance(body[0], ast.Expr))
    ]
    assert wrong == []


def test_every_module_named_in_a_string_is_there() -> None:
    for name in NAMED_IN_STRINGS:
        import_module(name)
