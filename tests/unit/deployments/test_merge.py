"""What a person changed on the server stays, what the file changed is applied, a conflict is told."""

from __future__ import annotations

from typing import Any

import pytest

from roost.deployments.merge import Conflict, Whole, merge

NIGHTLY = {"cron": "0 2 * * *", "active": False}


def state(index: str = "handbook", **schedules: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": {"request": {"index": index}}, "schedules": schedules or {"nightly": NIGHTLY}}


@pytest.mark.parametrize(
    ("base", "file", "server", "wanted", "kept"),
    [
        (state(), state(), state(), state(), []),
        (state(), state("new"), state(), state("new"), []),
        (state(), state(), state("mine"), state("mine"), ["parameters.request.index"]),
        (state(), state("mine"), state("mine"), state("mine"), []),
        # A person switched the schedule on; the file moved it to another hour: both hold.
        (
            state(),
            state(nightly=NIGHTLY | {"cron": "0 3 * * *"}),
            state(nightly=NIGHTLY | {"active": True}),
            state(nightly={"cron": "0 3 * * *", "active": True}),
            ["schedules.nightly.active"],
        ),
        # Schedules that a person added or removed; one that the file added, one that it removed.
        (
            state(),
            state(),
            state(nightly=NIGHTLY, mine=NIGHTLY),
            state(nightly=NIGHTLY, mine=NIGHTLY),
            ["schedules.mine"],
        ),
        (state(), state(), state() | {"schedules": {}}, state() | {"schedules": {}}, ["schedules.nightly"]),
        (state(), state(nightly=NIGHTLY, more=NIGHTLY), state(), state(nightly=NIGHTLY, more=NIGHTLY), []),
        (state(), state() | {"schedules": {}}, state(), state() | {"schedules": {}}, []),
    ],
)
def test_changes_of_one_side_are_applied(base, file, server, wanted, kept):
    merged = merge(base, file, server)
    assert (merged.value, merged.kept, merged.conflicts) == (wanted, kept, [])


@pytest.mark.parametrize(
    ("file", "server"),
    [("new", "mine"), (None, "mine"), ("new", None)],
)
def test_a_field_that_both_changed_stays_as_on_the_server_and_is_told_with_both_values(file, server):
    def request(index: Any) -> dict[str, Any]:
        return {"request": {"dry_run": True} if index is None else {"dry_run": True, "index": index}}

    merged = merge(request("handbook"), request(file), request(server))
    assert merged.value == request(server)
    assert merged.conflicts == [Conflict("request.index", file, server)]
    assert merged.kept == []


def test_without_a_record_of_the_last_deploy_what_differs_is_a_conflict_and_what_is_missing_is_added():
    merged = merge({}, {"tags": ["roost"], "paused": False}, {"tags": ["mine"]})
    assert merged.value == {"tags": ["mine"], "paused": False}
    assert merged.conflicts == [Conflict("tags", ["roost"], ["mine"])]


def test_the_file_s_value_is_taken_where_both_changed_it_if_it_is_preferred_and_only_there():
    base, file = {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 2}
    merged = merge(base, file, {"a": 3, "b": 3, "c": 1}, prefer_file=True)
    assert (merged.value, merged.kept) == ({"a": 2, "b": 3, "c": 2}, ["b"])
    assert merged.conflicts == [Conflict("a", 2, 3)]


def test_the_times_of_a_schedule_are_never_mixed_of_both_sides():
    hourly, nightly, weekly = Whole(interval=3600), Whole(cron="0 2 * * *"), Whole(cron="0 2 * * 0")
    kept = merge({"times": dict(hourly)}, {"times": hourly}, {"times": nightly})
    assert (kept.value, kept.kept) == ({"times": nightly}, ["times"])
    taken = merge({"times": dict(hourly)}, {"times": weekly}, {"times": nightly}, prefer_file=True)
    assert (taken.value, taken.conflicts) == ({"times": weekly}, [Conflict("times", weekly, nightly)])
