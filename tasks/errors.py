"""What can go wrong, and whose turn it then is.

RoostError                    exit 1, the run failed
├── UsageError                exit 2, the caller changes a word and tries again
│   ├── ConfigurationError    a setting is missing, unknown or out of range
│   ├── SourceError           a source cannot be listed or read as asked
│   ├── ModelError            the embedding model cannot be had, or does not fit the settings
│   └── StoreError            Milvus refuses: wrong token, a foreign collection, another recipe
│       └── CollectionNotFoundError         the collection is not there, or no longer
├── TransientError            worth another try: a network, a server that is away or busy
├── ConflictError             another run writes the same index
├── StepError                 the run ended, the index does not hold what the ledger says
└── DocumentError             one document cannot be indexed; it is quarantined, the others go on
"""

from __future__ import annotations

from collections.abc import Iterable


class RoostError(Exception):
    """Something Roost noticed; the message says what, which value, and what to do."""

    exit_code = 1


class UsageError(RoostError):
    """The caller can put this right."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A setting is missing, unknown or out of range."""


class SourceError(UsageError):
    """A source cannot be listed or read as asked."""


class ModelError(UsageError):
    """The embedding model cannot be had, or does not fit the settings."""


class StoreError(UsageError):
    """Milvus refuses what was asked, and will refuse it again."""


class CollectionNotFoundError(StoreError):
    """The collection is not there, or no longer: another dropped it meanwhile."""


class TransientError(RoostError):
    """A network or a server failed in a way that another try may mend."""


class ConflictError(RoostError):
    """Another run writes the same index."""


class StepError(RoostError):
    """The run ended, but the index does not hold what the ledger says."""


class DocumentError(RoostError):
    """One document cannot be indexed.

    Args:
        reason: Class of the failure, one of `REASONS`.
        detail: What exactly, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown reason {reason!r}: {unknown_value('reason', reason, REASONS)}")
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


#: Reason classes of quarantine, and whether an unchanged document is tried again by the next run.
REASONS: dict[str, bool] = {
    "empty": False,
    "no_text": False,
    "unknown_format": False,
    "damaged": False,
    "encrypted": False,
    "too_slow": False,
    "too_large": False,
    "bad_row": False,
    "unreadable": True,
    "parser_died": True,
}


def unknown_value(what: str, received: str, valid: Iterable[str]) -> str:
    """Word the one line for a value outside a known set."""
    return f"unknown {what} {received!r}; known: {', '.join(sorted(valid))}"
