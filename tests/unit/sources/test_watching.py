"""Watching of folders: which changes call for a run, and that many at once call for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread

import pytest

from roost.tasks.errors import SourceError
from roost.tasks.sources import watching
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.source import Source
from roost.tasks.sources.watching import SourceWatch

#: Long enough for any machine; a test that passes waits a fraction of it.
PATIENCE_S = 30.0


class Watched:
    """A folder that is watched; `runs` gets an entry for each run, which lasts until `may_end`."""

    def __init__(self, watch: SourceWatch, folder: Path) -> None:
        self.watch, self.folder, self.runs, self.may_end = watch, folder, Queue[list[str]](), Event()
        self.may_end.set()
        Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        with suppress(SourceError):  # the watch has ended
            while True:
                self.runs.put(self.watch.wait())
                self.may_end.wait()

    def count(self, *, expects: bool = True) -> int:
        """Wait for a run, where one is expected, and until no further one follows."""
        return len(self.wait_for_runs(expects=expects))

    def wait_for_runs(self, *, expects: bool = True) -> list[list[str]]:
        """Do the same, and give the names of each run's files; none where it is to list all."""
        found: list[list[str]] = []
        while True:
            try:
                found.append(self.runs.get(timeout=PATIENCE_S if expects and not found else 1.0))
            except Empty:
                return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "docs"
    (folder / "drafts").mkdir(parents=True)
    (folder / "a.md").write_text("A")
    source = Source(uri=str(folder), exclude=["drafts/**"])
    with SourceWatch([source], [folder / "roost.db"]) as watch:
        yield Watched(watch, folder)


def test_a_run_gets_the_names_of_the_files_that_have_changed(watched: Watched) -> None:
    (watched.folder / "b.md").write_text("B")
    (watched.folder / "a.md").unlink()
    names = {name for run in watched.wait_for_runs() for name in run}
    assert names == {str(watched.folder / "a.md"), str(watched.folder / "b.md")}


def test_many_changes_one_in_a_file_of_rules_and_an_hour_call_for_a_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.csv"
    rules.write_text("match,team\n")
    watch = SourceWatch([Source(uri=str(tmp_path), exclude=["rules.csv"], metadata=Metadata(file=str(rules)))])
    assert watch.is_relevant(rules)

    def names_after(*paths: Path) -> list[str]:
        watch.note_changes_of(set(paths))
        return watch.wait()

    files = [tmp_path / f"{number}.md" for number in range(watching.MAX_NAMES + 1)]
    assert names_after(*files[:2]) == [str(files[0]), str(files[1])]
    assert names_after(*files) == []
    assert names_after(files[0], rules) == []
    assert names_after(files[0]) == [str(files[0])]
    monkeypatch.setattr(watching, "LIST_INTERVAL_S", 0.0)
    assert watch.wait() == []


def test_a_thousand_changes_at_once_call_for_at_most_two_runs(watched: Watched) -> None:
    watched.may_end.clear()
    for number in range(1_000):
        (watched.folder / f"{number}.md").touch()
    watched.may_end.set()
    assert watched.count() in (1, 2)


def test_new_folders_renames_and_deletions_call_for_a_run(watched: Watched) -> None:
    (watched.folder / "new").mkdir()
    (watched.folder / "new" / "b.md").write_text("B")
    assert watched.count() >= 1
    (watched.folder / "new").rename(watched.folder.parent / "elsewhere")
    assert watched.count() >= 1
    (watched.folder / "a.md").replace(watched.folder / "c.md")
    assert watched.count() >= 1
    (watched.folder / "c.md").unlink()
    assert watched.count() >= 1


def test_what_is_hidden_or_excluded_or_a_run_writes_itself_calls_for_none(watched: Watched) -> None:
    (watched.folder / "drafts" / "x.md").write_text("X")
    (watched.folder / ".git").mkdir()
    (watched.folder / ".git" / "index").write_text("x")
    (watched.folder / "roost.db").mkdir()
    (watched.folder / "roost.db" / "log").write_text("x")
    assert watched.count(expects=False) == 0


def test_a_single_file_and_a_glob_are_watched_and_their_neighbours_are_not(tmp_path: Path) -> None:
    names = ("one.md", "other.md", "sub/deep.md", "sub/deep.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    watch = SourceWatch([Source(uri=str(tmp_path / "one.md")), Source(uri=f"{tmp_path}/sub/*.md")])
    relevant = [
        name for name in ("one.md", "other.md", "sub/deep.md", "sub/deep.txt") if watch.is_relevant(tmp_path / name)
    ]
    assert relevant == ["one.md", "sub/deep.md"]
    with watch:
        seen = Watched(watch, tmp_path)
        (tmp_path / "other.md").write_text("y")
        assert seen.count(expects=False) == 0
        (tmp_path / "other.md").replace(tmp_path / "one.md")  # as editors save
        assert seen.count() >= 1


def test_only_places_on_this_machine_can_be_watched(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only local files and folders"):
        SourceWatch([Source(uri="s3://bucket/docs")])
    with pytest.raises(SourceError, match="no such file or folder"), SourceWatch([Source(uri=str(tmp_path / "none"))]):
        pass
