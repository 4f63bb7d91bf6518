"""The roles of a Milvus server, without a server: what the documentation says of them, and what is refused."""

from __future__ import annotations

import re

import pytest
from tests.conftest import ROOT

from roost.deployments import milvus_roles
from roost.deployments.milvus_roles import PRIVILEGES, READER, WRITER


def test_the_documentation_lists_the_privileges_of_both_roles() -> None:
    page = (ROOT / "docs" / "how-to" / "milvus.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (yes)? ?\| (yes)? ?\|$", page, re.MULTILINE)
    documented = {
        role: {(kind, name) for name, kind, *has in rows if has[column]} for column, role in enumerate((WRITER, READER))
    }
    granted = {
        role: {(kind, name) for kind, names in kinds.items() for name in names} for role, kinds in PRIVILEGES.items()
    }
    assert documented == granted
    assert granted[READER] < granted[WRITER]


def test_milvus_lite_has_no_roles(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", "./roost.db")
    assert milvus_roles.main() == 2
    assert capsys.readouterr().err == "roost: ROOST_MILVUS__URI=roost.db is a file of Milvus Lite, which has no users\n"
