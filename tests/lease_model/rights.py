"""The model: who may have written what, by the order of grants alone. It knows no clock, no row and no message."""

from __future__ import annotations

from dataclasses import dataclass, field

from roost.tasks.ids import IdRange


@dataclass
class Rights:
    """Which lease may still write: the last one that was granted of all that cover common documents."""

    grants: list[IdRange] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    wrongly_written: list[str] = field(default_factory=list)

    def grant(self, id_range: IdRange) -> int:
        """Note that a process may write from now on; gives the number of its grant."""
        self.grants.append(id_range)
        return len(self.grants) - 1

    def write(self, grant: int, now: float) -> None:
        """Note that Milvus carries out a write that was sent under a grant."""
        self.written.append(grant)
        first, last = self.grants[grant]
        later = [n for n, (start, end) in enumerate(self.grants) if n > grant and first < end and start < last]
        if later:
            self.wrongly_written.append(f"at {now:.1f} s grant {grant} wrote, after grant {later[0]} was given")
