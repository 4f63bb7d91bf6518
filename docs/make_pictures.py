"""Make the pictures of the README and the pages from the real terminal and the real UI: `make pictures`.

A Prefect server and a Milvus Lite file are made in a temporary folder; commands run in a pseudo-terminal, and Chromium
opens the pages of their runs.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text
from station import clean_env, make_station

from roost.deployments.local.servers import prefect_server

PICTURES = Path(__file__).parent / "pictures"
COLUMNS = 100
_SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\r\n|\r|\n|[^\x1b\r\n]+|\x1b.?")

#: Puts a folder that readers may have in place of the temporary one.
_GENERIC_PATHS = """folder => {
  for (const field of document.querySelectorAll("textarea, input"))
    if (field.value.startsWith(folder)) field.value = "/sources/docs";
}"""


class Screen:
    """What a terminal shows, as far as Roost's output uses one: lines that are written again, and colours."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = 0

    def feed(self, text: str) -> None:
        for found in _SEQUENCE.finditer(text):
            part, numbers, letter = found[0], found[1], found[2]
            if letter == "A":
                self.row = max(self.row - int(numbers or 1), 0)
            elif letter == "K":
                self.lines[self.row] = ""
            elif letter == "m" or (letter is None and part not in ("\r", "\n", "\r\n") and part[0] != "\x1b"):
                self.lines[self.row] += part
            elif part == "\r":
                self.lines[self.row] = ""
            elif part in ("\n", "\r\n"):
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip("\n")


def run_in_terminal(command: str, folder: Path, env: dict[str, str]) -> tuple[str, str]:
    """Run a command in a pseudo-terminal; the screen when some documents were done, and the last one.

    Raises:
        SystemExit: It failed.
    """
    screen, working = Screen(), ""
    main, terminal = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": "30", "TERM": "xterm-256color"}
    with subprocess.Popen(  # noqa: S602  a command of this file
        command, shell=True, cwd=folder, env=env | size, stdin=terminal, stdout=terminal, stderr=terminal
    ) as running:
        os.close(terminal)
        while data := _read(main):
            screen.feed(data.decode("utf-8", "replace").replace(str(folder), "/home/you/station"))
            if not working and re.search(r"indexing \S*?[1-9]\d*/", screen.text):
                working = screen.text
        os.close(main)
    if running.returncode:
        raise SystemExit(f"{command}: {screen.text}")
    return working, screen.text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def save_terminal(name: str, *parts: tuple[str, str]) -> None:
    """Write commands and what the terminal showed as `<name>.svg`."""
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
    for command, shown in parts:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(shown))
    (PICTURES / f"{name}.svg").write_text(console.export_svg(title="roost", unique_id=name), "utf-8")


@contextmanager
def opened_page() -> Iterator[Page]:
    """A page of a real Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium.new_page(viewport={"width": 1400, "height": 900})
        chromium.close()


def save_page(page: Page, url: str, name: str, wait_for: str, height: int = 900) -> None:
    """Open an address, wait for a text, and write what the page shows as `<name>.png`."""
    page.set_viewport_size({"width": 1400, "height": height})
    page.goto(url)
    page.get_by_text(wait_for).first.wait_for(timeout=60_000)
    page.wait_for_timeout(2_000)  # charts and graphs are drawn after their data has come
    page.evaluate(_GENERIC_PATHS, tempfile.gettempdir())
    page.screenshot(path=PICTURES / f"{name}.png")


def post(api: str, path: str, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(f"{api}/{path}", json=body, timeout=30).raise_for_status().json()
    return found


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, prefect_server(Path(made) / "prefect") as server:
        folder = make_station(Path(made))
        env = clean_env(PREFECT_API_URL=server.uri)
        ingest, search = "roost ingest ./docs --index docs", 'roost search "when is it safe after lightning?" --k 3'
        working, ended = run_in_terminal(ingest, folder, env)
        save_terminal("progress", (ingest, working))
        save_terminal("ingest", (ingest, ended), (search, run_in_terminal(search, folder, env)[1]))
        evaluate = "roost evaluate ./questions --index docs --timings none"
        save_terminal("evaluate", (evaluate, run_in_terminal(evaluate, folder, env)[1]))
        run_in_terminal("roost deploy && roost schedule ./docs --index docs --every 1h", folder, env)
        _save_pages(server.uri)


def _save_pages(api: str) -> None:
    ui = api.removesuffix("/api") + "/v2"
    [run] = post(api, "flow_runs/filter", flows={"name": {"any_": ["ingest"]}}, limit=1)
    [deployment] = post(api, "deployments/filter", deployments={"name": {"like_": "docs"}}, limit=1)
    with opened_page() as page:
        save_page(page, f"{ui}/runs/flow-run/{run['id']}", "run", "Task Runs")
        for key, wait_for in (("ingest-docs", "Documents"), ("evaluation-docs", "Quality")):
            [artifact] = post(api, "artifacts/filter", artifacts={"key": {"any_": [key]}}, limit=1)
            name = "report" if key.startswith("ingest") else "evaluation"
            save_page(page, f"{ui}/artifacts/artifact/{artifact['id']}", name, wait_for, height=1400)
        save_page(page, f"{ui}/deployments/deployment/{deployment['id']}/run", "form", "sources", height=1400)
    print(json.dumps(sorted(file.name for file in PICTURES.iterdir())))  # noqa: T201


if __name__ == "__main__":
    main()
