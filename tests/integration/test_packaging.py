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
    "prefect_database.sql",
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


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build(clone, tmp_path_factory.mktemp("wheel"))


def _code(wheel: zipfile.ZipFile) -> set[str]:
    """Its files without the metadata."""
    return {name for name in wheel.namelist() if not name.startswith("roost-")}


def test_the_wheel_has_one_top_level_name_all_resources_and_no_tests(wheel: zipfile.ZipFile) -> None:
    code = _code(wheel)
    assert {name.partition("/")[0] for name in code} == {"roost"}
    assert {f"roost/resources/{name}" for name in RESOURCES} <= code
    assert {"roost/py.typed", "roost/flows/ingest.py", "roost/tasks/settings.py", "roost/cli/main.py"} <= code
    assert not [name for name in code if Path(name).name.startswith(("test_", "conftest"))]


def test_an_unpacked_wheel_finds_its_resources_and_ignores_modules_of_the_same_names_in_the_folder(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    """Celery and Invoke want a tasks.py, every Prefect project has a folder flows."""
    wheel.extractall(site := tmp_path / "site")
    for name in ("tasks.py", "flows/__init__.py", "deployments/__init__.py"):
        (file := tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemExit('imported from the folder')")
    script = (
        f"import sys; sys.path[:0] = ['', {str(site)!r}]\n"
        "import roost.flows.ingest, roost.tasks.settings, roost.deployments.prefect_setup\n"
        f"assert roost.__file__.startswith({str(site)!r}), roost.__file__\n"
        f"{FIND}"
    )
    found = run(sys.executable, "-c", script, *RESOURCES, cwd=tmp_path / "project")
    assert found.stdout.split() == RESOURCES, found.stderr


@pytest.mark.long
def test_a_wheel_made_from_the_sdist_is_the_same(clone: Path, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    make = "from setuptools.build_meta import build_sdist; import sys; build_sdist(sys.argv[1])"
    assert (made := run(sys.executable, "-c", make, tmp_path, cwd=clone)).returncode == 0, made.stderr
    [sdist] = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [project] = (tmp_path / "unpacked").iterdir()
    (target := tmp_path / "wheels").mkdir()
    assert _code(build(project, target)) == _code(wheel)


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


@pytest.mark.parametrize("copy", [_unpack_zip, pytest.param(_check_out_without_links, marks=pytest.mark.long)])
def test_a_copy_without_symbolic_links_is_refused_with_what_to_do(copy: Callable[[Path], Path], tmp_path: Path) -> None:
    project = copy(tmp_path)
    assert (project / "src" / "roost" / "flows").is_file()
    (target := tmp_path / "wheels").mkdir()
    built = pip_wheel(project, target)
    assert built.returncode != 0
    assert "src/roost/deployments is not a folder" in built.stderr
    assert "git clone -c core.symlinks=true" in built.stderr
    assert not list(target.glob("*.whl"))
