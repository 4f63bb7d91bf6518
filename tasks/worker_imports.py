"""Libraries that parsing processes have imported before they are forked: once, and no more than they need.

nltk, which splits sentences, also imports SciPy and scikit-learn where it finds them, for what nobody asks of it here:
half of the CPU time and of the memory that a run's first parsing process would take.
"""

from __future__ import annotations

import sys

_UNASKED = [name for name in ("scipy", "sklearn") if name not in sys.modules]
for _name in _UNASKED:
    sys.modules[_name] = None  # type: ignore[assignment]  # an import then fails as if it were not installed

import llama_index.core.node_parser  # noqa: E402, F401
import nltk  # noqa: E402, F401
import pypdf  # noqa: E402, F401

for _name in _UNASKED:
    del sys.modules[_name]
