"""Addresses of pages in Prefect's UI."""

from __future__ import annotations

from uuid import UUID

from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for


def ui_page(kind: str, obj_id: UUID) -> str | None:
    """Return the address of a page, in the UI that asks for the password first and then shows the page.

    A server of one's own serves two UIs: `url_for` names the old one, which answers "page not found" without a login.
    An address of Prefect Cloud, and one that the setting PREFECT_UI_URL gives, stay as they are.

    Args:
        kind: `flow-run` or `deployment`.
        obj_id: Its id.
    """
    page, api = url_for(kind, obj_id=obj_id), get_current_settings().api.url or ""
    ui = api.removesuffix("/api")
    if page and ui != api and page.startswith(f"{ui}/"):
        return f"{ui}/v2{page.removeprefix(ui)}"
    return page
