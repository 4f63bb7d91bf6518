"""The spools of killed runs are deleted, those of living runs are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from roost.tasks.sources.spool import spool_folder, sweep_spools

KILLED = """
import os, sys
from roost.tasks.sources.spool import spool_folder
with spool_folder(sys.argv[1]) as folder:
    (folder / "rows.parquet").write_text("rows")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_left_is_deleted_by_the_next_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "roost-spool-by-hand").mkdir()
    (tmp_path / "roost-notes").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [left] = tmp_path.glob("*/rows.parquet")
    with spool_folder(str(tmp_path)) as living:
        sweep_spools(str(tmp_path))
        assert living.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roost-notes", "roost-spool-by-hand"]
    assert not left.parent.exists()
