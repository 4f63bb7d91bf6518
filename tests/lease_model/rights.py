"""The model: who may have written what, by the order of grants alone. It knows no clock, no row and no message."""

from __future__ import annotations

from dataclasses import dataclass, field

from roost.tasks.ids import IdRange


@dataclass
class Rights:
    """Which lease may still write: the last one that was granted of all that cover common documents.

    The lease of a part of a run and the lease of that run do not end each other.
    """

    grants: list[IdRange] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    wrongly_written: list[str] = field(default_factory=list)

    def grant(self, id_range: IdRange, parent: int | None = None) -> int:
        """Note that a process may write from now on; gives the number of its grant.

        Args:
            id_range: The documents that it writes.
            parent: The grant of the run that it is a part of.
        """
        self.grants.append(id_range)
        self.parents.append(parent)
        return len(self.grants) - 1

    def write(self, grant: int, now: float) -> None:
        """Note that Milvus carries out a write that was sent under a grant."""
        self.written.append(grant)
        later = [n for n in range(grant + 1, len(self.grants)) if self._ends(n, grant)]
        if later:
            self.wrongly_written.append(f"at {now:.1f} s grant {grant} wrote, after grant {later[0]} was given")

    def _ends(self, later: int, earlier: int) -> bool:
        """Whether a grant ended an earlier one."""
        if self.parents[later] == earlier:
            return False
        (first, last), (start, end) = self.grants[earlier], self.grants[later]
        return first < end and start < last
