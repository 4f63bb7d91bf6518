"""Imports without packages that are optional to the imported library and take long to import."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Refusing:
    """Finder that reports some packages as not installed.

    `sys.modules[name] = None` would hide a package from Python code only: Cython's `import` would give None.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse the packages; leave others to the next finder."""
        if name in self._packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def hidden_packages(*names: str) -> Iterator[None]:
    """Let imports of these packages fail as if they were not installed, unless one was imported before."""
    finder: Any = _Refusing(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
