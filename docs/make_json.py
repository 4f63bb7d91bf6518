"""Write docs/reference/json.md: what each command prints with `--json`, from real commands on the example handbook."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from station import clean_env, make_station

PAGE = Path(__file__).parent / "reference" / "json.md"
COMMANDS = (
    "roost ingest ./docs --index docs",
    'roost search "when is it safe after lightning?" --index docs --k 1',
    "roost status",
    "roost backfill ./docs --index docs --only 'staff/**' --dry-run",
    "roost evaluate ./questions --index docs --timings none --compare dense",
    "roost rebuild --index docs --chunk-size 160 --questions ./questions",
    "roost versions --index docs",
    "roost rollback --index docs",
    "roost prune --keep 1 --index docs --dry-run",
    "roost verify --index docs",
    "roost export ./backup --index docs",
    "roost forget docs --index docs --yes",
    "roost delete docs --yes",
    "roost formats",
    "roost doctor",
)
HEAD = """<!-- Written by docs/make_json.py from the output of the commands. -->

# JSON

With `--json` a command prints one object on standard output; progress and errors go to standard error. The exit code is
the same as without. Here is what each command prints for the example handbook, long lists and texts cut with `…`. New
keys may come with any release; keys that are here stay ([what is kept](../releases.md)).
"""


def main() -> None:
    parts = [HEAD]
    with tempfile.TemporaryDirectory() as made:
        folder = make_station(Path(made))
        env = clean_env(HOME=made, ROOST_PREFECT__IDLE_MINUTES="5")
        for command in COMMANDS:
            done = subprocess.run(  # noqa: S602  a command of this file
                f"{command} --json", shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False
            )
            if not done.stdout:
                raise SystemExit(f"{command}: {done.stderr}")
            shown = json.dumps(
                _shortened(json.loads(done.stdout.replace(made, "/home/you"))), indent=2, ensure_ascii=False
            )
            parts.append(
                f"## {' '.join(command.split()[:2])}\n\n```text\n{command} --json\n```\n\n```json\n{shown}\n```\n"
            )
        subprocess.run(["roost", "down"], cwd=folder, env=env, capture_output=True, check=True)  # noqa: S607
    PAGE.write_text("\n".join(parts), "utf-8")


def _shortened(value: Any) -> Any:
    """Cut long lists, objects and texts, and round numbers, for reading."""
    if isinstance(value, dict):
        cut = {name: _shortened(each) for name, each in list(value.items())[:40]}
        return cut if len(value) <= 40 else cut | {"…": "…"}
    if isinstance(value, list):
        return [_shortened(each) for each in value[:2]] + (["…"] if len(value) > 2 else [])
    if isinstance(value, float):
        return round(value, 4)
    return f"{value[:80]}…" if isinstance(value, str) and len(value) > 81 else value


if __name__ == "__main__":
    main()
