"""The exception hierarchy: drawn as it is, with its exit codes, and fit to cross processes."""

from __future__ import annotations

import pickle
import re

import pytest

from roost.tasks import errors
from roost.tasks.errors import DocumentError, RoostError, RunError, UsageError


def classes() -> list[type[RoostError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RoostError)]


def test_the_tree_at_the_top_of_the_module_shows_every_class_below_its_base():
    bases: list[str] = []
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"((?:[│ ]   )*(?:[├└]── )?)(\w+Error)  ", line):
            depth = len(match[1]) // 4
            bases[depth:] = [match[2]]
            drawn[match[2]] = bases[depth - 1] if depth else "Exception"
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in classes()}


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_its_message(kind):
    error = DocumentError("damaged", "no end of file") if kind is DocumentError else kind("what happened")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.args) == (type(error), str(error), error.args)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_only_errors_that_the_caller_can_correct_exit_with_2(kind):
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_a_run_that_failed_can_be_caught_by_one_class():
    names = {cls.__name__ for cls in classes() if issubclass(cls, RunError) and cls is not RunError}
    assert names == {
        "InconsistentIndexError",
        "LeaseLostError",
        "VersionChangedError",
        "EngineError",
        "WorkerPoolError",
    }


def test_a_similar_known_value_is_suggested_whatever_its_case_and_none_is_if_none_is_similar():
    assert errors.unknown_value("index", "DCOS", ["docs", "notes"]) == (
        "unknown index 'DCOS'; did you mean 'docs'? Known: docs, notes"
    )
    assert errors.unknown_value("index", "zzz", ["docs", "notes"]) == "unknown index 'zzz'; known: docs, notes"
    assert errors.known_values("x", []) == "known: none"
