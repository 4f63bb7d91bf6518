"""The packed database of Prefect belongs to the version that is installed."""

from __future__ import annotations

from importlib.metadata import version

from roost.deployments.local.prefect_database import PREFECT_VERSION


def test_the_packed_database_is_of_the_prefect_that_is_installed() -> None:
    test = "tests/acceptance/test_kept_prefect.py::test_the_packed_database_is_what_migrations_make"
    assert version("prefect") == PREFECT_VERSION, f"make it again, as {test} says"
