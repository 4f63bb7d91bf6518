"""Puts the generator of vectors in place of the model in every Python process that starts with this folder on its path.

The workers of Dask, Ray and Prefect are started by these libraries: Python imports `sitecustomize` in all of them. The
stand-in is set when the process imports the embedder, so that other processes do not pay for its imports.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

EMBEDDER = "roost.tasks.models.embedder"


class _EmbedderFinder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != EMBEDDER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            from tests.benchmarks.scale.generator import DelayedGenerator

            execute(module)
            module.load_engine = lambda *_: DelayedGenerator()  # type: ignore[attr-defined]

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _EmbedderFinder())
