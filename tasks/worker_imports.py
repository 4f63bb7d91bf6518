"""Imports that worker processes need; the fork server runs this module once, and each worker starts with them.

Two libraries import far more than Roost calls: llama-index all its indexes, memories and engines, where two classes
that split texts are needed; nltk, which finds sentences, SciPy and scikit-learn where they are installed. Both are
imported here without the rest, which would take half of the CPU time of a run's first worker, and memory in each.
"""

from __future__ import annotations

import gc
import signal
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType

from roost.tasks.hidden_packages import hidden_packages

# The fork server ignores Ctrl-C only after these imports, which take a second. Other processes must not ignore it.
# Collections of garbage would take a fifth of that time and find nothing; the workers switch them on again.
if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()

#: Packages whose own code is not run, outer ones first.
_SKIPPED = (
    "llama_index.core",
    "llama_index.core.node_parser",
    "llama_index.core.node_parser.file",
    "llama_index.core.node_parser.text",
)
#: The modules of these packages that `roost.tasks.steps.splitters` uses.
_SPLITTERS = ("llama_index.core.node_parser.file.markdown", "llama_index.core.node_parser.text.sentence")


def _import_splitters() -> None:
    """Import the modules of `_SPLITTERS`; afterwards the packages can be imported as usual."""
    skipped = [name for name in _SKIPPED if name not in sys.modules]
    import_module("llama_index")
    try:
        for name in skipped:
            spec = PathFinder.find_spec(name, sys.modules[name.rpartition(".")[0]].__path__)
            package = ModuleType(name)
            package.__path__ = (spec and spec.submodule_search_locations) or []
            sys.modules[name] = package
        for name in _SPLITTERS:
            import_module(name)
    finally:
        for name in skipped:
            sys.modules.pop(name, None)


with hidden_packages("scipy", "sklearn"):
    try:
        _import_splitters()
    except ImportError:  # a version of llama-index with other modules, imported as a whole
        import llama_index.core.node_parser  # noqa: F401
    import nltk  # noqa: F401
