"""`roost watch` as its users have it: a process that keeps an index in step, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import ROOST, Roost
from tests.waiting import until

pytestmark = pytest.mark.long


class Watching:
    """The running command: a report a run on standard output."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder, self.process = folder, process

    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self._folder / "out").read_text().splitlines()]

    def wait_for_runs(self, count: int) -> dict[str, Any]:
        """Wait for so many runs, and return the last one's documents."""
        assert self.process.poll() is None, self.errors()
        return until(lambda: len(found := self.runs()) >= count and found, 120)[-1]["documents"]

    def errors(self) -> str:
        return (self._folder / "err").read_text()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@contextmanager
def watching(folder: Path, *words: str | Path, **env: str) -> Iterator[Watching]:
    """Run `roost watch` in a folder."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        command = [ROOST, "watch", *map(str, words), "--json"]
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **env}, stdout=out, stderr=err)
    try:
        yield Watching(folder, process)
    finally:
        process.kill()
        process.wait()


def test_a_folder_is_kept_in_step_until_ctrl_c(roost: Roost, prefect: str, cache: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(4):
        (docs / f"{number}.md").write_text(f"# Note {number}\n\nThe ferry {number} leaves at noon.")
    env = {
        "PREFECT_API_URL": prefect,
        "XDG_CACHE_HOME": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(tmp_path / "home"),
    }
    with watching(tmp_path, "docs", **env) as watch:
        assert watch.wait_for_runs(1)["added"] == 4
        (docs / "new.md").write_text("# Lighthouse\n\nThe lighthouse keeper has a parrot.")
        assert watch.wait_for_runs(2)["added"] == 1
        hits = roost("search", "Who has a parrot?", "--json")  # the file of Milvus Lite is free
        assert (hits.code, hits.json["hits"][0]["uri"]) == (0, "new.md"), hits.err
        (docs / "new.md").unlink()
        assert watch.wait_for_runs(3)["deleted"] == 1

        for number in range(1_000):
            os.utime(docs / f"{number % 4}.md")
        watch.wait_for_runs(4)
        (docs / "0.md").write_text("# Last\n\nThe last change.")
        until(lambda: watch.runs()[-1]["documents"]["changed"] == 1, 60)
        assert len(watch.runs()) <= 6  # at most two of the thousand, and one of the last change

        docs.rename(tmp_path / "away")
        until(lambda: "no such file or folder: docs" in watch.errors(), 60)
        (tmp_path / "away").rename(docs)
        (docs / "5.md").write_text("# After\n\nIt goes on.")
        until(lambda: watch.runs()[-1]["documents"]["added"] == 1, 60)
        assert watch.interrupt() == 130
        assert watch.errors().splitlines()[-1] == "roost: stopping: what is committed stays"
        assert "Traceback" not in watch.errors()
    assert roost("search", "What goes on?", "--json").json["hits"][0]["uri"] == "5.md"
    assert roost("verify", "--json").code == 0


def test_a_place_that_cannot_be_watched_is_wrong_usage(roost: Roost) -> None:
    ended = roost("watch", "s3://bucket/docs")
    assert (ended.code, ended.err) == (
        2,
        "roost: s3://bucket/docs cannot be watched: only local files and folders can; use roost schedule\n",
    )
