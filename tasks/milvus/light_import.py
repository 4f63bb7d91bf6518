"""Importing pymilvus without the libraries that it imports for functions that few programs call.

pymilvus 2.6 imports pandas for its `Collection` and requests for Zilliz Cloud's global clusters: more than half of the
time of its import. Here they are loaded when one of their names is used. A test fails when that no longer works.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from roost.tasks.hidden_packages import hidden_packages

_LATE = ("pandas", "pandas.api", "pandas.api.types", "requests", "requests.exceptions")


class _Late(ModuleType):
    """Stands for a module that is imported when one of its names is used after `is_ready` is set.

    Before that a name is only bound or used in an annotation: a name with a capital letter is a class, else a function
    that calls the real one.
    """

    is_ready = False
    __path__ = []  # noqa: RUF012  that of a package, so that `import pandas.api` passes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if _Late.is_ready:
            return getattr(import_module(self.__name__), name)
        if name[0].isupper():
            return type(name, (), {})
        return partial(_call_late, self.__name__, name)


def _call_late(module: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of a module that is imported now; not for the default values of a schema, which are plain."""
    if arguments and isinstance(arguments[0], str | int | float):
        if name == "is_scalar":
            return True
        if name == "is_float":
            return isinstance(arguments[0], float)
    return getattr(import_module(module), name)(*arguments, **options)


def import_pymilvus() -> None:
    """Import pymilvus without pandas and requests, unless one of the three has been imported before."""
    if not {"pymilvus", "pandas", "requests"}.isdisjoint(sys.modules):
        return
    stand_ins = {name: _Late(name) for name in _LATE}
    sys.modules |= stand_ins
    try:
        import pymilvus  # noqa: F401
    finally:
        for name in stand_ins:
            del sys.modules[name]
        _Late.is_ready = True


def import_for_command(*, is_lite: bool) -> None:
    """Import what a command uses of Milvus; for processes in which no code but Roost's own runs.

    In this process pyarrow then handles no pandas objects, and pymilvus no sparse matrices of SciPy: both would import
    the library at their first use, to find out whether it is installed.

    Args:
        is_lite: Whether the command will open a file of Milvus Lite, which stores rows with pyarrow.
    """
    import_pymilvus()
    from pymilvus.client.utils import SciPyHelper

    SciPyHelper._checked = True
    if is_lite and "pandas" not in sys.modules:
        with hidden_packages("pandas"):
            import_module("pyarrow.dataset")  # it asks whether pandas is there
