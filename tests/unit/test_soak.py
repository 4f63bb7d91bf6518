"""The parts of `make soak` that decide: the plan of a seed, the sources' model, the judge."""

from __future__ import annotations

import copy
import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.soak.__main__ import options
from tests.soak.commands import ClosedError, Commands
from tests.soak.judge import IndexRows, compare, problems, unexpected_failures
from tests.soak.plan import KINDS, decisions
from tests.soak.plants import PLANTS
from tests.soak.sources import Sources
from tests.soak.windows import GRACE_S, Window, Windows
from tests.waiting import until

CHUNKS = [
    {"id": f"aa-{number:06}", "doc_id": "aa", "uri": "a.md", "ordinal": number, "text": "x", "vector": [1.0, 0.0]}
    for number in range(3)
]
LEDGER = [{"doc_id": "aa", "uri": "a.md", "status": "indexed", "chunk_count": 3, "run_id": "1"}]
REPORT: dict[str, Any] = {
    "minutes": 1.0,
    "seed": 1,
    "faults": {"kill_run": 1},
    "runs": {"Completed": 3, "Crashed": 1},
    "searches": {"ok": 5, "empty": 0, "error": 2},
    "lost": 0,
    "duplicated": 0,
    "orphaned": 0,
    "hung": 0,
    "rss_start_mb": {"search": 200},
    "rss_end_mb": {"search": 210},
    "fds_start": {"search": 20},
    "fds_end": {"search": 22},
}


def test_a_seed_decides_all_faults_and_another_one_others() -> None:
    first, again, other = (list(itertools.islice(decisions(seed), 30)) for seed in (1, 1, 2))
    assert first == again
    assert [one.kind for one in first] != [one.kind for one in other]
    assert {one.kind for one in first[: len(KINDS)]} == set(KINDS)
    assert all(KINDS[one.kind][0] <= one.seconds <= KINDS[one.kind][1] for one in first)


def test_a_seed_decides_all_edits_and_the_model_knows_every_file(tmp_path: Path) -> None:
    one, same = Sources(tmp_path / "one", 5), Sources(tmp_path / "same", 5)
    assert one.edit(60) == same.edit(60)
    for sources in (one, same):
        known = {document.path: document.text for document in sources.documents()}
        files = (file for file in sources.root.rglob("*") if file.is_file())
        assert {str(file.relative_to(sources.root)): file.read_text() for file in files} == known


def test_equal_indexes_have_no_losses_whatever_run_wrote_them() -> None:
    by_another_run = [row | {"run_id": "2", "updated_at": "later"} for row in LEDGER]
    losses = compare(IndexRows(CHUNKS, by_another_run), IndexRows(CHUNKS, LEDGER))
    assert (losses.lost, losses.duplicated, losses.orphaned, losses.lines) == (0, 0, 0, [])


@pytest.mark.parametrize(
    ("chunks", "ledger", "hidden", "expected"),
    [
        (CHUNKS[1:], LEDGER, 0, (1, 0, 0)),
        ([CHUNKS[0] | {"text": "y"}, *CHUNKS[1:]], LEDGER, 0, (1, 0, 0)),
        ([CHUNKS[0] | {"vector": [0.0, 1.0]}, *CHUNKS[1:]], LEDGER, 0, (1, 0, 0)),
        ([*CHUNKS, CHUNKS[0]], LEDGER, 0, (0, 1, 0)),
        (CHUNKS, LEDGER, 2, (0, 2, 0)),
        ([*CHUNKS, CHUNKS[0] | {"id": "aa-000009"}], LEDGER, 0, (0, 0, 1)),
        (CHUNKS, [], 0, (1, 0, 0)),
        (CHUNKS, [LEDGER[0] | {"status": "writing"}], 0, (2, 0, 0)),
        (CHUNKS, [*LEDGER, LEDGER[0] | {"doc_id": "bb"}], 0, (0, 0, 1)),
    ],
)
def test_every_difference_from_a_clean_index_is_counted(chunks, ledger, hidden, expected) -> None:
    losses = compare(IndexRows(chunks, ledger, hidden), IndexRows(CHUNKS, LEDGER))
    assert (losses.lost, losses.duplicated, losses.orphaned) == expected
    assert losses.lines


def test_rows_that_only_a_count_shows_are_named() -> None:
    losses = compare(IndexRows(CHUNKS, LEDGER, 1, ["aa-000001"]), IndexRows(CHUNKS, LEDGER))
    assert "row aa-000001 is there more than once" in losses.lines


def test_a_report_without_a_problem_has_none() -> None:
    assert problems(REPORT) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((name, 1) for name in ("lost", "duplicated", "orphaned", "hung")),
        ("searches", {"ok": 5, "empty": 1, "error": 0}),
        ("searches", {"ok": 0, "empty": 0, "error": 9}),
        ("runs", {"Completed": 3, "Running": 1}),
        ("rss_end_mb", {"search": 900}),
        ("fds_end", {"search": 900}),
    ],
)
def test_every_problem_of_a_report_is_said(key, value) -> None:
    assert len(problems(copy.deepcopy(REPORT) | {key: value})) == 1


def test_a_fault_explains_what_fails_while_it_lasts_and_shortly_after() -> None:
    windows = Windows([Window("kill_milvus", 100.0, 110.0)])
    assert windows.covers(90.0, 101.0)
    assert windows.covers(110.0 + GRACE_S - 1, 200.0, ["kill_milvus"])
    assert not windows.covers(90.0, 99.0)
    assert not windows.covers(110.0 + GRACE_S + 1, 200.0)
    assert not windows.covers(100.0, 105.0, ["kill_run"])


def test_an_unknown_plant_is_one_line_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(["--plant", "wrong"])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert all(name in said for name in ("'wrong'", *PLANTS))


@pytest.mark.parametrize(
    ("message", "is_unexpected"),
    [
        ("Flow run encountered an exception: KeyError: 'text'", True),
        ("Flow run encountered an exception: InconsistentIndexError: index 'docs' contains 13 chunks", True),
        ("Flow run encountered an exception: TransientError: Milvus does not answer", False),
        ("Flow run encountered an exception: OSError: [Errno 28] No space left on device", False),
        ("OutOfStep: docs: 53 documents, 99 chunks; missing chunks: 5", False),
    ],
)
def test_a_failed_run_is_a_problem_if_python_or_the_ledger_failed_it(message: str, is_unexpected: bool) -> None:
    assert len(unexpected_failures([message])) == is_unexpected


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Commands]:
    """Commands that run a shell script in place of Roost, always under a fault."""

    def make(script: str) -> Commands:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr("tests.soak.commands.sys", SimpleNamespace(executable=str(program)))
        stack: Any = SimpleNamespace(folder=tmp_path, env=dict(os.environ))
        return Commands(stack, Windows([Window("kill_milvus", 0.0)]))

    return make


@pytest.mark.parametrize(("found", "count"), [('"orphaned": 104', 1), ('"orphaned": 0, "missing": 5', 0)])
def test_no_fault_explains_rows_that_verify_finds_at_no_time(commands: Any, found: str, count: int) -> None:
    ran = commands(f"echo '{{{found}}}'; exit 1")
    ran.run("verify")
    assert len(ran.unexplained) == count


@pytest.mark.parametrize(("line", "count"), [("refuses: no vector index", 1), ("does not answer: start it", 0)])
def test_no_fault_explains_a_call_that_milvus_refuses(commands: Any, line: str, count: int) -> None:
    ran = commands(f"echo 'roost: Milvus at http://127.0.0.1:1 {line}' >&2; exit 1")
    ran.run("prune")
    assert len(ran.unexplained) == count


def test_what_runs_is_killed_at_once_and_nothing_more_starts(commands: Any, tmp_path: Path) -> None:
    ran = commands("sleep 60")
    thread = threading.Thread(target=ran.run, args=("verify",))
    thread.start()
    until(ran.running, seconds=20)
    ran.kill_all()
    thread.join(20)
    assert [one.code for one in ran.all] == [-signal.SIGKILL]
    with pytest.raises(ClosedError):
        ran.run("verify")
