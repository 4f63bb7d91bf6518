"""Build guard: refuse to build where the symbolic links below src/roost are missing.

A zip download or a clone with core.symlinks=false turns them into text files; the wheel would lack most of Roost.
"""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
missing = [
    name
    for name in ("deployments", "flows", "tasks", "resources/examples", "resources/kubernetes")
    if not (ROOT / "src" / "roost" / name).is_dir()
]
if missing:
    raise SystemExit(
        f"roost cannot be built: src/roost/{missing[0]} is not a folder. It is a symbolic link in the repository, and "
        "this copy has lost its symbolic links. Clone with `git clone -c core.symlinks=true`, or unpack an archive "
        "with a program that restores symbolic links (tar, unzip)."
    )
setup()
