"""The rows of writer leases in a version's ledger: read and written, abandoned ones told apart, clocks compared.

A row states when its lease expires, by the clock of its owner. Messages use that time, and processes that join a lease,
and it shows a clock that is wrong. It does not decide who may write: another process takes a lease over only when its
owner's process has ended on this machine, or when the row has not changed for as long as a lease lasts, measured by the
other process's own clock (`LeaseWatch`).
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from roost.tasks.crash_points import utc_now
from roost.tasks.errors import ClockError
from roost.tasks.ids import ALL_IDS, IdRange
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.versions import ledger

#: Seconds from a renewal until the lease expires. A server may be away for less.
EXPIRES_AFTER_S = 120.0
#: Seconds by which the clocks of two machines may differ. An owner stops writing this long before its lease expires, so
#: that processes that join the lease on another machine stop in time too.
MAX_CLOCK_DIFFERENCE_S = 30.0
#: Most lease rows that are read of one ledger.
MAX_LEASES = 1000


@dataclass(frozen=True)
class LeaseRow:
    """One writer lease as it is stored.

    key: Primary key.
    owner: Text that names the owner to others, with its machine.
    since: Time of day of the grant, for others' messages.
    expires: When it expires by its owner's clock, in seconds since the epoch.
    process: `_host` and process id of the owner; empty when workers elsewhere may write under the lease.
    id_range: The documents that the owner writes.
    parent_lease: Key of the lease of the run that the owner is a part of; empty for a run of its own.
    """

    key: str
    owner: str
    since: str
    expires: float
    process: str
    id_range: IdRange = ALL_IDS
    parent_lease: str = ""

    @property
    def written(self) -> float:
        """When it was last renewed by its owner's clock, in seconds since the epoch."""
        return self.expires - EXPIRES_AFTER_S

    @property
    def has_ended(self) -> bool:
        """Whether its owner was a process of this machine that no longer exists."""
        return has_process_ended(self.process)

    def overlaps(self, other: LeaseRow) -> bool:
        """Whether two leases exclude each other: they cover common documents, and neither is a part of the other."""
        is_family = self.key in (other.key, other.parent_lease) or self.parent_lease == other.key
        return not is_family and self.id_range[0] < other.id_range[1] and other.id_range[0] < self.id_range[1]


class LeaseWatch:
    """What this process has seen of the leases of others, by its own clock.

    A process may be suspended between a read and its look at the answer, so a row counts as it was when the read was
    sent: `read_at`, by `monotonic_now`.
    """

    def __init__(self) -> None:
        """Begin to watch; nothing has been seen yet."""
        self._changed: dict[str, tuple[float, float]] = {}  # key -> (expiry, when it was first seen)
        self._read_at = monotonic_now()
        self._looked_old: Counter[str] = Counter()  # key -> how many of its last renewals looked too old

    def is_abandoned(self, row: LeaseRow, read_at: float) -> bool:
        """Whether the owner can no longer write: its process has ended, or its row is unchanged for a whole lease."""
        expires, seen = self._changed.get(row.key, (None, 0.0))
        if expires != row.expires:
            seen = monotonic_now()
            self._changed[row.key] = (row.expires, seen)
        return row.has_ended or read_at - seen > EXPIRES_AFTER_S

    def check_clocks(self, rows: list[LeaseRow], index: str, read_at: float) -> None:
        """Refuse when the clock of a row's writer and the own one differ too much.

        A row cannot have been written in the future, and one that has changed since the last read cannot be older than
        that read: unless Milvus was slow to write it, so two such rows in succession are needed.

        Raises:
            ClockError: They do.
        """
        seconds_between = monotonic_now() - self._read_at
        self._read_at = read_at
        for row in rows:
            refuse_future_row(row, index)
            if row.key not in self._changed or self._changed[row.key][0] == row.expires:
                continue
            age = utc_now().timestamp() - row.written
            looks_old = age > MAX_CLOCK_DIFFERENCE_S + seconds_between
            self._looked_old[row.key] = self._looked_old[row.key] + 1 if looks_old else 0
            if self._looked_old[row.key] == 2:
                raise _clock_error(row, index, f"{age:.0f} s ahead of")


def refuse_future_row(row: LeaseRow, index: str) -> None:
    """Refuse a lease that was written in the future by this machine's clock.

    Raises:
        ClockError: By more than `MAX_CLOCK_DIFFERENCE_S`.
    """
    seconds_ahead = row.written - utc_now().timestamp()
    if seconds_ahead > MAX_CLOCK_DIFFERENCE_S:
        raise _clock_error(row, index, f"{seconds_ahead:.0f} s behind")


async def read_leases(store: Store, name: str) -> list[LeaseRow]:
    """Read all leases of one ledger, by a read that sees every acknowledged write."""
    fields = ["doc_id", "uri", "source", "modified", "reason", "size", "attempts", "content_hash"]
    rows = await store.query(name, f"status == {quoted(ledger.LEASE)}", fields, limit=MAX_LEASES)
    return [_decode(row) for row in rows]


async def write_lease(store: Store, name: str, row: LeaseRow) -> None:
    """Write a lease's row."""
    stored = {
        "doc_id": row.key,
        "uri": row.owner,
        "source": row.since,
        "content_hash": row.parent_lease,
        "size": row.id_range[0],
        "modified": str(row.expires),
        "status": ledger.LEASE,
        "chunk_count": 0,
        "pending_chunk_count": 0,
        "reason": row.process,
        "attempts": row.id_range[1],
    }
    await ledger.write_rows(store, name, [stored], run_id="")


def this_process() -> str:
    """Name this process for all that share a Milvus: machine and process id."""
    return f"{_host()} {os.getpid()}"


def monotonic_now() -> float:
    """Give the seconds of a clock that cannot be set and that also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _decode(row: dict[str, Any]) -> LeaseRow:
    return LeaseRow(
        key=row["doc_id"],
        owner=row["uri"],
        since=row["source"],
        expires=float(row["modified"]),
        process=row["reason"],
        id_range=(row["size"], row["attempts"]),
        parent_lease=row["content_hash"],
    )


def _clock_error(row: LeaseRow, index: str, difference: str) -> ClockError:
    return ClockError(
        f"the clock of this machine ({socket.gethostname()}) is {difference} the clock of {row.owner}, which writes "
        f"index {index!r}; at most {MAX_CLOCK_DIFFERENCE_S:.0f} s are allowed: synchronize the clocks (NTP), then run "
        "it again"
    )


def has_process_ended(process: str) -> bool:
    """Whether a process, as `this_process` names it, was one of this machine and no longer exists."""
    host, _, pid = process.rpartition(" ")
    return host == _host() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    """Name this machine since its last start. Containers share host names, but not both boot id and process space."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return f"{socket.gethostname()} {file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    return socket.gethostname()
