"""The wheel: one package with all its files, found from a wheel as from a clone; refused where links are missing."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ROOT

RESOURCES = [
    "prefect.yaml",
    "compose.yaml",
    "kubernetes/worker.yaml",
    "kubernetes/job-template.json",
    "examples/handbook/visitors/faq.csv",
    "examples/handbook/procedures/backup_logs.py",
    "examples/questions/queries.jsonl",
    "examples/questions/qrels/test.tsv",
]
#: Prints, one in a line, which of its arguments are files below the resources of the installed package.
FIND = (
    "import sys; from importlib.resources import files; root = files('roost') / 'resources'\n"
    "print(*(name for name in sys.argv[1:] if root.joinpath(name).is_file()), sep='\\n')"
)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)


def pip_wheel(project: Path, target: Path) -> subprocess.CompletedProcess[str]:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    return run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", target, project, cwd=target)


def build(project: Path, target: Path) -> zipfile.ZipFile:
    built = pip_wheel(project, target)
    assert built.returncode == 0, built.stderr
    [wheel] = target.glob("*.whl")
    return zipfile.ZipFile(wheel)


def export(kind: str, target: Path) -> Path:
    """Write the tracked files, with their uncommitted changes, as an archive."""
    stash = run("git", "stash", "create", cwd=ROOT).stdout.strip() or "HEAD"
    archive = target / f"roost.{kind}"
    made = run("git", "archive", f"--format={kind}", f"--output={archive}", stash, cwd=ROOT)
    if made.returncode:
        pytest.skip(f"no git repository here: {made.stderr}")
    return archive


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with its symbolic links: a build leaves folders behind, which must not be in ROOT."""
    folder = tmp_path_factory.mktemp("clone")
    with tarfile.open(export("tar", folder)) as archive:
        archive.extractall(folder / "roost", filter="data")
    return folder / "roost"


def test_the_wheel_has_one_top_level_name_all_resources_and_no_tests(
    clone: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wheel = build(clone, tmp_path)
    names = set(wheel.namelist())
    code = {name for name in names if not name.startswith("roost-")}
    assert {name.partition("/")[0] for name in code} == {"roost"}
    assert {f"roost/resources/{name}" for name in RESOURCES} <= names
    assert {"roost/py.typed", "roost/flows/ingest.py", "roost/tasks/settings.py", "roost/cli/main.py"} <= names
    assert not [name for name in code if "test" in Path(name).stem.split("_") and name.endswith(".py")]

    wheel.extractall(site := tmp_path / "site")
    found = run(sys.executable, "-S", "-E", "-c", FIND, *RESOURCES, cwd=site)
    assert found.stdout.split() == RESOURCES, found.stderr

    unpacked = tmp_path_factory.mktemp("sdist")
    make = "from setuptools.build_meta import build_sdist; import sys; build_sdist(sys.argv[1])"
    assert (made := run(sys.executable, "-c", make, unpacked, cwd=clone)).returncode == 0, made.stderr
    [sdist] = unpacked.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [project] = (path for path in unpacked.iterdir() if path.is_dir())
    (target := tmp_path / "from-sdist").mkdir()
    assert {name for name in build(project, target).namelist() if not name.startswith("roost-")} == code


def test_an_editable_install_finds_the_same_resources() -> None:
    found = run(sys.executable, "-c", FIND, *RESOURCES, cwd=ROOT / "tests")
    assert found.stdout.split() == RESOURCES, found.stderr


def _unpack_zip(target: Path) -> Path:
    """As Python's zipfile and some desktops do: symbolic links become text files."""
    with zipfile.ZipFile(export("zip", target)) as archive:
        archive.extractall(target / "roost")
    return target / "roost"


def _check_out_without_links(target: Path) -> Path:
    made = run("git", "-c", "core.symlinks=false", "clone", "--quiet", "--shared", ROOT, target / "roost", cwd=target)
    assert made.returncode == 0, made.stderr
    return target / "roost"


@pytest.mark.parametrize("copy", [_unpack_zip, _check_out_without_links])
def test_a_copy_without_symbolic_links_is_refused_with_what_to_do(copy: Callable[[Path], Path], tmp_path: Path) -> None:
    project = copy(tmp_path)
    assert (project / "src" / "roost" / "flows").is_file()
    (target := tmp_path / "wheels").mkdir()
    built = pip_wheel(project, target)
    assert built.returncode != 0
    assert "src/roost/deployments is not a folder" in built.stderr
    assert "git clone -c core.symlinks=true" in built.stderr
    assert not list(target.glob("*.whl"))
