"""Where a page of Prefect's UI is, for each kind of server."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from roost.deployments.ui_pages import ui_page

ID = UUID("b478fed4-bfd2-492d-a856-e403230aff3d")
CLOUD = "https://api.prefect.cloud/api/accounts/1/workspaces/2"


@pytest.mark.parametrize(
    ("api", "ui", "expected"),
    [
        ("http://127.0.0.1:4200/api", None, f"http://127.0.0.1:4200/v2/runs/flow-run/{ID}"),
        ("https://host/prefect/api", None, f"https://host/prefect/v2/runs/flow-run/{ID}"),
        ("http://127.0.0.1:4200/api", "https://prefect.example", f"https://prefect.example/runs/flow-run/{ID}"),
        (CLOUD, None, f"https://app.prefect.cloud/account/1/workspace/2/runs/flow-run/{ID}"),
    ],
)
def test_the_page_of_a_run_is_in_the_ui_that_asks_for_a_password(api: str, ui: str | None, expected: str) -> None:
    with temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui}):
        assert ui_page("flow-run", ID) == expected
