"""`make lock`: hashes of every file of the packages that `constraints.txt` pins, and those of the image alone.

`uv` asks the index for them. A file with other contents, whichever index it comes from, is then refused by
`pip install --require-hashes`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name
from tests.conftest import ROOT
from tests.release.packages import with_requirements

CONSTRAINTS, LOCK = ROOT / "constraints.txt", ROOT / "requirements.lock"
IMAGE_LOCK = ROOT / "deployments" / "docker" / "requirements.lock"
#: The Python of the image, which is also the oldest for which every pinned package has a file.
PYTHON = "3.11.14"
#: Each index has its own builds of PyTorch, with other hashes; Milvus runs in a container of its own.
NOT_IN_IMAGE = {"torch", "milvus"}
#: Builds Roost itself.
BUILDS = "setuptools"

_ABOUT = "# {what}, with the hashes of all their files. Written by `make lock`; do not edit.\n"
_OPTIONS = ("--no-deps", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--quiet")


def main() -> None:
    """Write both files."""
    uv = Path(sys.argv[1]) / "uv"
    made = [uv, "pip", "compile", *_OPTIONS, "--python-version", PYTHON, CONSTRAINTS]
    text = subprocess.run(made, check=True, capture_output=True, text=True).stdout
    LOCK.write_text(_ABOUT.format(what="All packages of constraints.txt") + text)
    IMAGE_LOCK.write_text(image_lock(locked(text)))


def locked(text: str) -> dict[str, str]:
    """Read a lock: package -> its lines."""
    entries = re.findall(r"^\w.*\n(?: .*\n)*", text, re.MULTILINE)
    return {canonicalize_name(entry.partition("==")[0]): entry for entry in entries}


def image_lock(entries: dict[str, str]) -> str:
    """Give the lock of the packages of the image: of the core and of the extra `local`, as they are installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found, _ = with_requirements([*project["dependencies"], *project["optional-dependencies"]["local"]])
    names = sorted((found | {BUILDS}) - NOT_IN_IMAGE)
    return _ABOUT.format(what="The packages of the image but for PyTorch") + "".join(entries[name] for name in names)


if __name__ == "__main__":
    main()
