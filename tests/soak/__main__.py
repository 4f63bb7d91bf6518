"""`make soak`: everything at once, under attack, against servers of its own; judged at the end.

Ingests of changing sources, a schedule over the same sources, searches, verify, rebuild, promote, rollback and prune go
on at the same time, while a tormentor does what `plan` says for the seed. At the end it undoes its harm; one more
ingest and a verify run; and the index is compared with that of a clean run over the same sources. Prints one JSON
object; the exit code is 1 when something is wrong, and standard error says what.

A failed command is no defect if a fault was at work while it ran, or shortly before; one that fails without a fault, or
with a traceback, is. `faults.jsonl` in the folder has the tormentor's decisions; the folder is kept when something is
wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.interruption import interruptible
from tests.soak.plants import PLANTS
from tests.soak.soak import Soak

from roost.tasks.errors import RoostError


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Read the options; a wrong one ends the process with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="make soak", usage=argparse.SUPPRESS, description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long faults happen")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, the edits and the order of operations")
    parser.add_argument("--plant", default="", help=f"a defect that the judge must find: {', '.join(PLANTS)}")
    parser.add_argument("--folder", type=Path, help="where the servers keep their data; a temporary one by default")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    chosen = parser.parse_args(words)
    if chosen.plant and chosen.plant not in PLANTS:
        parser.error(f"there is no defect {chosen.plant!r} to plant: choose one of {', '.join(PLANTS)}")
    return chosen


@interruptible("soak")
def main() -> None:
    """Soak, print one JSON object, and exit with 1 when something is wrong."""
    chosen = options()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=chosen.folder))
    is_good = False
    try:
        with ExitStack() as up:
            soak = Soak(folder, up, chosen.seed, chosen.plant)
            report = soak.run(chosen.hours * 60 if chosen.hours else chosen.minutes)
        is_good = not soak.problems
    except RoostError as error:
        print(f"soak: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        if is_good and not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"soak: all files are kept in {folder}", file=sys.stderr)
    for line in soak.problems:
        print(f"soak: {line}", file=sys.stderr)
    print(json.dumps(report))
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
