"""After a crash at any point the next run ends in exactly the state of a clean run.

Runs are the flow's own code in forked processes (crash_child.py). Cases are worked through ahead, several at once:
a case on the real server mostly waits for it.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.crash import USUAL_BATCHES, Nursery, Site, State, differences
from tests.integration.crash_corpus import Corpus, Schedule
from tests.outside_milvus import fresh_name

from roost.tasks.steps.report import Reject

#: Passes of crash points at which a run over the corpora below is killed. Each is reached, or its test fails.
PASSES = [
    *(f"{name}:{n}" for name in ("before_intent", "after_intent", "after_chunks") for n in (1, 3)),
    *(f"{name}:{n}" for name in ("after_cleanup", "after_commit") for n in (2, 3)),
    *(f"between_writes:{n}" for n in (1, 4, 8, 12)),
    "after_chunks_deleted:1",
    "after_rows_deleted:1",
]
#: Points before, between and after the writes, for the usual form.
FEW = ["after_intent:3", "between_writes:4", "after_chunks:2", "after_commit:3", "after_rows_deleted:1"]
#: Each point once.
ONCE = [
    "before_intent:2",
    "after_intent:3",
    "between_writes:4",
    "after_chunks:2",
    "after_cleanup:2",
    "after_commit:3",
    "after_chunks_deleted:1",
    "after_rows_deleted:1",
]
#: Random schedules on Milvus Lite and on the real server: how many run usually, how many in the long form.
LITE_SCHEDULES, SERVER_SCHEDULES = (3, 1000), (1, 12)
EDITS = "grow grow shrink shrink rename rename delete delete add rewrite swap"


@dataclass(frozen=True)
class Bench:
    """What a case works with: a corpus before and after its changes, and the clean states of both."""

    nursery: Nursery
    folder: Path
    older: Path
    newer: Path
    clean: dict[Path, State]
    server: str = ""

    def site(self, kind: str, source: Path) -> Site:
        """A fresh index on this kind of Milvus."""
        name = fresh_name()
        return Site(
            self.nursery, self.server if kind == "standalone" else str(self.folder / f"{name}.db"), name, source
        )

    def judge(self, site: Site) -> list[str]:
        """What an ordinary run makes of it, against the clean state; then drop it."""
        found = differences(site.settle(), self.clean[site.source])
        site.drop()
        return found


def first_run(bench: Bench, kind: str, attack: dict[str, Any]) -> list[str]:
    """Kill the very first run over a source."""
    site = bench.site(kind, bench.older)
    assert site.run(**attack).killed
    return bench.judge(site)


def changing_run(bench: Bench, kind: str, attack: dict[str, Any]) -> list[str]:
    """Kill a run that adds, changes, renames and deletes."""
    site = bench.site(kind, bench.older)
    if kind == "lite":
        shutil.copytree(bench.folder / "older.db", site.uri)
        site = replace(site, index="older")
    else:
        site.run()
    later = replace(site, source=bench.newer)
    assert later.run(**attack).killed
    return bench.judge(later)


def starved_run(bench: Bench, kind: str, attack: dict[str, Any]) -> list[str]:
    """Give a run that adds, changes, renames and deletes too little memory, or too little room in its files."""
    site = bench.site(kind, bench.newer)
    shutil.copytree(bench.folder / "older.db", site.uri)
    site = replace(site, index="older")
    ended = bench.nursery.run(site.uri, site.step, **attack)
    assert ended.killed or ended.answers[0]["state"] not in ("Completed", "Partial"), ended.answers[0]
    return bench.judge(site)


def schedule(bench: Bench, kind: str, attack: dict[str, Any]) -> list[str]:
    """Play a random schedule; it differs by its seed, and says what happened."""
    seed = attack["seed"]
    folder = bench.folder / f"{kind}-{seed}"
    site = bench.site(kind, folder / "docs")
    played = Schedule(seed, site, folder)
    found = played.play()
    site.drop()
    return [*(f"{seed}: {line}" for line in played.log), *found] if found else []


Case = tuple[Callable[[Bench, str, dict[str, Any]], list[str]], str, dict[str, Any]]


def cases(
    work: Callable[..., list[str]], kind: str, usual: list[dict[str, Any]], long: list[dict[str, Any]]
) -> list[Any]:
    """Parameters for a test, one a case: those that run usually, and more for the long form."""
    more = [attack for number, attack in enumerate(long) if attack not in [*usual, *long[:number]]]
    return [
        pytest.param((work, kind, attack), id="-".join([kind, *map(str, attack.values())]), marks=marks)
        for attacks, marks in ((usual, ()), (more, pytest.mark.long))
        for attack in attacks
    ]


def faults(*names: str) -> list[dict[str, Any]]:
    return [{"fault": name} for name in names]


def calls(*numbers: int) -> list[dict[str, Any]]:
    return [{"kill_before": number} for number in numbers]


def limits(name: str, *kib: int) -> list[dict[str, Any]]:
    return [{name: size * 1024} for size in kib]


def seeds(first: int, *counts: int) -> Iterator[list[dict[str, Any]]]:
    """Seeds of schedules from `first` on, for each count."""
    return ([{"seed": first + number} for number in range(count)] for count in counts)


def first_state(nursery: Nursery, source: Path, folder: Path) -> State:
    """What a first, undisturbed run over a source makes."""
    return Site(nursery, str(folder / f"{uuid.uuid4().hex}.db"), "clean", source).settle()


@pytest.fixture(scope="module")
def bench(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Nine documents; then some grow, shrink, move, go, come, and two change their names."""
    folder = tmp_path_factory.mktemp("bench")
    older = Corpus(folder / "older" / "docs", random.Random(7)).fill(9)
    newer = Corpus(folder / "newer" / "docs", random.Random(7)).fill(9)
    for edit in EDITS.split():
        newer.change(1, [edit])
    Site(nursery, str(folder / "older.db"), "older", older.root).run()
    clean = {root: first_state(nursery, root, folder) for root in (older.root, newer.root)}
    assert clean[older.root].chunks.keys() - clean[newer.root].chunks.keys()
    return Bench(nursery, folder, older.root, newer.root, clean)


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Callable[[Case], list[str]]]:
    """Work through the chosen cases ahead of their tests; `outcome(case)` waits for one."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and "case" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    server = request.getfixturevalue("standalone") if any(kind == "standalone" for _, kind, _ in chosen) else ""
    equipped = replace(bench, server=server)
    with ThreadPoolExecutor(3) as here, ThreadPoolExecutor(6) as there:
        futures: dict[int, Future[list[str]]] = {
            id(case): (there if case[1] == "standalone" else here).submit(case[0], equipped, *case[1:])
            for case in chosen
        }
        yield lambda case: futures[id(case)].result()
        for future in futures.values():
            future.cancel()


@pytest.mark.parametrize(
    "case",
    [
        *cases(first_run, "lite", faults("version_made:1", *FEW), faults(*ONCE, *PASSES)),
        *cases(first_run, "standalone", faults("version_made:1", "between_writes:4"), faults(*ONCE)),
    ],
)
def test_a_first_run_killed_at_a_write_step_is_made_good_by_the_next(case, outcome):
    assert outcome(case) == []


@pytest.mark.parametrize(
    "case",
    [
        *cases(changing_run, "lite", faults(*FEW), faults(*ONCE, *PASSES)),
        *cases(
            changing_run,
            "standalone",
            faults("after_chunks:2", "after_rows_deleted:1"),
            faults(*ONCE),
        ),
    ],
)
def test_a_run_over_changes_killed_at_a_write_step_is_made_good_by_the_next(case, outcome):
    assert outcome(case) == []


@pytest.mark.parametrize(
    "case",
    [
        *cases(first_run, "lite", calls(7), calls(*range(1, 12))),
        *cases(first_run, "standalone", calls(4), calls(2, 6, 8)),
    ],
)
def test_a_run_killed_while_it_makes_the_index_is_made_good_by_the_next(case, outcome):
    assert outcome(case) == []


@pytest.mark.parametrize(
    "case",
    [
        *cases(starved_run, "lite", limits("file_bytes", 4), limits("file_bytes", 1, 2, 6, 8, 10)),
        *cases(starved_run, "lite", limits("memory_bytes", 128 * 1024), limits("memory_bytes", 1024, 64 * 1024)),
    ],
)
def test_a_run_whose_writes_fail_or_whose_memory_ends_is_made_good_by_the_next(case, outcome):
    assert outcome(case) == []


@pytest.mark.parametrize("free", [0, *(pytest.param(kib, marks=pytest.mark.long) for kib in (8, 16, 32))])
def test_a_run_on_a_full_disk_says_so_and_is_made_good_by_the_next(free, bench, disk):
    site = replace(bench.site("lite", bench.newer), uri=str(disk / "lite.db"), index="older")
    shutil.copytree(bench.folder / "older.db", site.uri)
    fill(disk, free * 1024)
    ended = site.nursery.run(site.uri, site.step)
    assert ended.answers[0]["state"] == "RunError", ended.answers[0]
    assert f"no space is left on the disk of {site.uri}" in ended.answers[0]["error"]
    (disk / "filling").unlink()
    assert bench.judge(site) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no file system of a given size can be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk: Path, free: int) -> None:
    """Leave this number of bytes free."""
    with (disk / "filling").open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - free))


@pytest.mark.parametrize(
    "case",
    [
        *cases(schedule, "lite", *seeds(0, *LITE_SCHEDULES)),
        *cases(schedule, "standalone", *seeds(10_001, *SERVER_SCHEDULES)),
    ],
)
def test_any_schedule_of_runs_crashes_and_changes_ends_as_a_clean_index(case, outcome):
    assert outcome(case) == []


@pytest.mark.parametrize(
    "step",
    ["log", *(pytest.param(s, marks=pytest.mark.long) for s in ("schema", "hnsw index", "flat index", "scalar index"))],
)
def test_lite_killed_between_two_of_its_own_steps_is_made_good_by_the_next_run(step, bench):
    site = bench.site("lite", bench.older)
    assert site.run(kill_within_lite=step).killed
    assert bench.judge(site) == []


@pytest.mark.parametrize(
    ("edit", "point"),
    [
        ("delete", "after_chunks_deleted"),
        pytest.param("rename", "after_rows_deleted", marks=pytest.mark.long),
        pytest.param("delete", "after_rows_deleted", marks=pytest.mark.long),
        pytest.param("rename", "after_chunks_deleted", marks=pytest.mark.long),
    ],
)
def test_documents_that_come_back_after_a_crash_in_their_deletion_are_whole(edit, point, nursery, tmp_path):
    corpus = Corpus(tmp_path / "docs", random.Random(7)).fill(9)
    site = Site(nursery, str(tmp_path / "roost.db"), "docs", corpus.root)
    site.run()
    before = dict(corpus.files)
    corpus.change(2, [edit])
    assert site.run(fault=f"{point}:1").killed
    corpus.reset(before)
    assert site.off_from_clean(tmp_path) == []


def moving(nursery: Nursery, folder: Path, env: dict[str, str]) -> tuple[Corpus, Site]:
    """An index of a folder's documents, most of which then move; the usual limit to what a run may delete."""
    corpus = Corpus(folder / "docs", random.Random(7)).crowd(24)
    for number in range(6):
        corpus.write(f"kept/{number}.txt", f"Number {number} stays where it is.".encode())
    site = Site(nursery, str(folder / "roost.db"), "docs", corpus.root, max_delete_fraction=None, env=env)
    site.run()
    corpus.move_crowd()
    return corpus, site


@pytest.mark.parametrize(
    ("batches", "point"),
    [
        ("small", "after_intent"),
        ("usual", "after_chunks"),
        pytest.param("small", "after_commit", marks=pytest.mark.long),
        pytest.param("usual", "after_chunks_deleted", marks=pytest.mark.long),
        pytest.param("usual", "after_intent", marks=pytest.mark.long),
        pytest.param("small", "after_chunks", marks=pytest.mark.long),
        pytest.param("usual", "after_commit", marks=pytest.mark.long),
        pytest.param("small", "after_chunks_deleted", marks=pytest.mark.long),
    ],
)
def test_a_large_move_that_was_cut_off_needs_no_leave_to_delete(batches, point, nursery, tmp_path):
    _, site = moving(nursery, tmp_path, USUAL_BATCHES if batches == "usual" else {})
    assert site.run(fault=f"{point}:1").killed
    assert site.off_from_clean(tmp_path) == []


@pytest.mark.long
def test_a_large_move_cut_off_again_and_again_while_it_goes_on_needs_no_leave_to_delete(nursery, tmp_path):
    corpus, site = moving(nursery, tmp_path, USUAL_BATCHES)
    for points in (("after_intent", "after_intent"), ("after_intent", "after_chunks"), ("after_commit",)):
        for point in points:
            assert site.run(fault=f"{point}:1").killed
        corpus.move_crowd()
    assert site.off_from_clean(tmp_path) == []


def test_what_a_crash_left_of_a_document_that_cannot_be_read_now_stays_and_is_completed_later(nursery, tmp_path):
    site = Site(nursery, str(tmp_path / "whole.db"), "docs", tmp_path / "docs")
    corpus = Corpus(site.source, random.Random(7))
    corpus.write("a.txt", " ".join(f"Sentence {n} is one of many." for n in range(40)).encode())
    site.run()
    corpus.write("a.txt", b"Only this remains.")
    with_gaps = 0
    for call in (3, 5, 7):
        cut = replace(site, uri=str(tmp_path / f"{call}.db"))
        shutil.copytree(site.uri, cut.uri)
        assert cut.run(kill_after=call).killed
        before = cut.read().chunks
        ordinals = {row["ordinal"] for row in before.values()}
        with_gaps += ordinals != set(range(len(ordinals)))
        [answer, _] = cut.run(away=[str(corpus.root / "a.txt")]).answers
        assert answer["state"] == "Partial"
        assert answer["report"].rejects == (Reject("a.txt", "unreadable: it is away"),)
        assert cut.read().chunks.keys() == before.keys()
        assert cut.off_from_clean(tmp_path) == []
    assert with_gaps


@pytest.mark.parametrize(
    "attack",
    [
        {"fault": "after_chunks:1"},
        *(pytest.param(attack, marks=pytest.mark.long) for attack in ({}, {"fault": "after_intent:1"})),
    ],
)
def test_documents_that_cannot_be_read_while_they_move_keep_their_chunks(attack, nursery, tmp_path):
    corpus, site = moving(nursery, tmp_path, USUAL_BATCHES)
    texts = {row["text"] for row in site.read().chunks.values()}
    if attack:
        assert site.run(**attack).killed
    away = [str(corpus.root / path) for path in corpus.files]
    for _ in range(2):
        [answer, _] = site.run(away=away).answers
        assert (answer["state"], answer["report"].documents.quarantined) == ("Partial", 24)
        assert {row["text"] for row in site.read().chunks.values()} == texts
    assert site.off_from_clean(tmp_path) == []


def test_a_crash_over_one_source_does_not_fail_the_runs_over_another(nursery, tmp_path):
    corpora = [Corpus(tmp_path / name, random.Random(seed)).fill(5) for seed, name in enumerate(("one", "two"))]
    one, two = (Site(nursery, str(tmp_path / "roost.db"), "docs", corpus.root) for corpus in corpora)
    assert one.run(fault="between_writes:3").killed
    two.run()
    found, clean = one.settle(), [first_state(nursery, corpus.root, tmp_path) for corpus in corpora]
    both = State(clean[0].chunks | clean[1].chunks, clean[0].ledger | clean[1].ledger)
    assert differences(found, both) == []
