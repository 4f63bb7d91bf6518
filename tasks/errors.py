"""Exception hierarchy and exit codes.

RoostError                         exit 1: the run failed
├── UsageError                     exit 2: the caller can correct the call, a setting or the index
│   ├── ConfigurationError         a setting is missing, unknown or out of range
│   ├── SourceError                a source cannot be listed or read as asked
│   ├── ModelError                 the embedding model is not available, or does not fit the settings
│   ├── ClockError                 the clocks of two machines that write one index differ too much
│   └── StoreError                 Milvus refuses: wrong token, a foreign collection, another recipe
│       ├── CollectionNotFoundError    the collection does not exist
│       ├── RecipeError                the index was built with another recipe than this run would use
│       └── IndexFormatError           the index has a ledger format that this Roost cannot read
├── TransientError                 a network or a server failed; a repeated call may succeed
├── ConflictError                  another run writes the same index
├── RunError                       the run cannot go on, or its result is wrong; committed documents stay
│   ├── InconsistentIndexError     the index does not contain what its ledger says
│   ├── LeaseLostError             the writer lease expired while the run worked
│   ├── VersionChangedError        the alias points to another version than the run wrote
│   ├── EngineError                Dask or Ray could not be used, or failed on a batch
│   └── WorkerPoolError            a Prefect work pool did not complete the shards of a run
└── DocumentError                  one document cannot be indexed; it is quarantined, the others go on
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable, Sequence

from roost.tasks.locations import hide_secrets
from roost.tasks.printable import printable


class RoostError(Exception):
    """Base of all errors that Roost raises; the message says what happened, to which value, and what to do.

    Messages come to the terminal, the ledger, artifacts, events and logs: users, passwords and queries of the URLs in
    them are removed, and control characters replaced.
    """

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        super().__init__(*(printable(hide_secrets(part)) if isinstance(part, str) else part for part in parts))


class UsageError(RoostError):
    """The caller can correct the call, a setting or the index."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A setting is missing, unknown or out of range."""


class SourceError(UsageError):
    """A source cannot be listed or read as asked."""


class ModelError(UsageError):
    """The embedding model is not available, or does not fit the settings."""


class ClockError(UsageError):
    """The clocks of two machines that write one index differ too much."""


class StoreError(UsageError):
    """Milvus refuses a call, and would refuse it again."""


class CollectionNotFoundError(StoreError):
    """The collection does not exist; another command may have dropped it."""


class RecipeError(StoreError):
    """The index was built with another model, chunking or vector index than this run would use."""


class IndexFormatError(StoreError):
    """The index, or an export, has a format that this Roost cannot read."""


class TransientError(RoostError):
    """A network or a server failed; a repeated call may succeed."""


class ConflictError(RoostError):
    """Another run writes the same index."""


class RunError(RoostError):
    """The run cannot go on, or its result is wrong. Committed documents stay committed."""


class InconsistentIndexError(RunError):
    """The index does not contain what its ledger says."""


class LeaseLostError(RunError):
    """The writer lease expired while the run worked: another run may be writing."""


class VersionChangedError(RunError):
    """The alias of the index points to another version than the one that the run wrote."""


class EngineError(RunError):
    """An engine, Dask or Ray, could not be started or reached, or failed on a batch."""


class WorkerPoolError(RunError):
    """A Prefect work pool did not complete the shards of a run."""


class DocumentError(RoostError):
    """One document cannot be indexed.

    Args:
        reason: Class of the failure, one of `REASONS`.
        detail: The exact failure, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown reason {reason!r}: {unknown_value('reason', reason, REASONS)}")
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = str(self.args[1])

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


#: Reason classes of quarantine, and in how many later runs an unchanged document is tried again. What may pass by
#: itself is tried as long as a try costs nothing, and a few times where it costs a worker its limits.
REASONS: dict[str, float] = {
    "empty": 0,
    "no_text": 0,
    "unknown_format": 0,
    "damaged": 0,
    "encrypted": 0,
    "bad_row": 0,
    "too_slow": 1,
    "too_large": 2,
    "failed": 5,
    "not_embedded": 5,
    "parser_died": 5,
    "stalled": 10,
    "unreadable": float("inf"),
}


def exhausted(error: BaseException) -> RunError | None:
    """Give the error to show for memory that ran out or a disk that is full; None for any other error."""
    if isinstance(error, MemoryError):
        return RunError(
            "memory ran out: close other programs, or give this one more; what is committed stays, run it again to "
            "continue"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(error.filename or tempfile.gettempdir())
    return None


def disk_full(place: str) -> RunError:
    """Give the error for a file or folder whose disk is full."""
    return RunError(f"no space is left on the disk of {place}: free some, and run it again; what is committed stays")


def unknown_value(what: str, received: str, valid: Iterable[str]) -> str:
    """Give the message for a value outside a known set."""
    return f"unknown {what} {received!r}; {known_values(received, sorted(valid))}"


def known_values(received: str, valid: Sequence[str], title: str = "known") -> str:
    """List known values after the one that was probably meant: `did you mean 'docs'? Known: docs, notes`."""
    hint = did_you_mean(received, valid)
    listed = f"{title}: {', '.join(valid) or 'none'}"
    return f"{hint} {listed[0].upper()}{listed[1:]}" if hint else listed


def did_you_mean(received: str, valid: Iterable[str]) -> str:
    """Give the question for the known value that is most like a wrong one: `did you mean 'docs'?`, or nothing."""
    from difflib import get_close_matches

    known = {each.casefold(): each for each in valid}
    near = get_close_matches(received.casefold(), known, n=1)
    return f"did you mean {known[near[0]]!r}?" if near else ""
