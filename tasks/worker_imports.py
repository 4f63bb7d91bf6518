"""Imports that worker processes need; the fork server runs this module once, and each worker starts with them.

nltk, which splits sentences, also imports SciPy and scikit-learn where they are installed, for functions that Roost
does not call: half of the CPU time and of the memory that the first worker of a run would take. Here nltk is imported
as if they were not installed.
"""

from __future__ import annotations

import signal
import sys

# The fork server ignores Ctrl-C only after these imports, which take seconds. Other processes must not ignore it.
if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    signal.signal(signal.SIGINT, signal.SIG_IGN)

_UNNEEDED = [name for name in ("scipy", "sklearn") if name not in sys.modules]
for _name in _UNNEEDED:
    sys.modules[_name] = None  # type: ignore[assignment]  # an import of it then raises ImportError

import llama_index.core.node_parser  # noqa: E402, F401
import nltk  # noqa: E402, F401
import pypdf  # noqa: E402, F401

for _name in _UNNEEDED:
    del sys.modules[_name]
