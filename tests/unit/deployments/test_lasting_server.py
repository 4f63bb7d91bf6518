"""The Prefect server that keeps running: that of Prefect's settings, or that of a running `roost up`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import Context
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from roost.deployments.lasting_server import NoServerError, access_command, configured_url, lasting_server
from roost.deployments.local.running_stack import noted_stack


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def in_a_context_of_its_own(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test without the settings of Prefect that a fixture of other tests in this process has put in force."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        Context().run(test, *arguments, **fixtures)

    return run


@in_a_context_of_its_own
def test_without_a_server_both_ways_to_have_one_are_named() -> None:
    with pytest.raises(NoServerError, match=r"`roost up`, or set PREFECT_API_URL"), lasting_server():
        pass


@in_a_context_of_its_own
def test_the_server_of_a_running_roost_up_is_used_unless_another_one_is_set(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    with noted_stack("http://127.0.0.1:4201/api", "roost:secret", tmp_path / "env"):
        with lasting_server() as url:
            assert url == get_current_settings().api.url == "http://127.0.0.1:4201/api"
            assert get_current_settings().api.auth_string.get_secret_value() == "roost:secret"
            assert access_command() == ""
        assert access_command() == f". {tmp_path / 'env'}"
        with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}), lasting_server() as url:
            assert url == configured_url() == "http://elsewhere/api"
    with pytest.raises(NoServerError), lasting_server():
        pass
