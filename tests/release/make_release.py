"""`make release`: builds what is published, checks it, and says what a person has to do.

Nothing is uploaded, tagged or pushed. Each check ends as done, failed, or not done with what it needs: a release for
which a check was not done is not ready, and the exit code is 1.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PathDistribution, version
from pathlib import Path

from tests.conftest import ROOT
from tests.release.lock import LOCK, locked
from tests.release.packages import EXTRAS, is_refused, licences_of, with_requirements

DIST = ROOT / "dist"
REQUIREMENTS, SBOM, SUMS = "requirements.txt", "roost.cdx.json", "SHA256SUMS"


class CheckError(Exception):
    """A check failed, or cannot be done here: what it found, or what it needs."""


def main() -> None:
    """Build, check, print what there is and what remains to be done."""
    tools = Path(sys.argv[1])
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    failed = 0
    for name, work in _steps(tools):
        try:
            print(f"{name}: {work()}", flush=True)
        except CheckError as error:
            failed += 1
            print(f"{name}: NOT OK\n  {error}", flush=True)
    print(f"\n{failed} of the steps above are not OK: not ready to be published" if failed else _by_hand())
    raise SystemExit(1 if failed else 0)


def _steps(tools: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "version", _check_version
    yield "wheel and sdist", lambda: _build(tools)
    yield "twine check", lambda: _last_line(_call(tools, "twine", "check", "--strict", *_built()))
    yield "packages", _write_requirements
    yield "licences", _check_licences
    yield "pip-audit", lambda: _audit(tools)
    yield "SBOM", lambda: _write_sbom(tools)
    yield "checksums", _write_sums


def _check_version() -> str:
    """Compare the version with the changelog, and the working tree with the last commit."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    number = _version()
    heading = next((line for line in changes.splitlines() if line.startswith(f"## {number}")), "")
    if not heading or "not released" in heading:
        raise CheckError(f"CHANGELOG.md needs the heading `## {number}, DATE` for pyproject.toml's version {number}")
    if changed := _git("status", "--porcelain"):
        raise CheckError(f"commit first: {changed.splitlines()[0].strip()}")
    return f"{number}, commit {_git('rev-parse', '--short', 'HEAD')}"


def _build(tools: Path) -> str:
    _call(tools, "pyproject-build", "--outdir", str(DIST), str(ROOT))
    return ", ".join(Path(one).name for one in _built())


def _write_requirements() -> str:
    """Write what an installation with all extras consists of, as it is installed here, with the hashes of the lock."""
    found, missing = _packages()
    if missing:
        raise CheckError(f"not installed, so not checked: {', '.join(sorted(missing))}: install all extras")
    entries = locked(LOCK.read_text("utf-8"))
    pins = {name: f"{name}=={version(name).partition('+')[0]}" for name in sorted(found)}
    if other := [pin for name, pin in pins.items() if entries.get(name, "").partition(" ")[0] != pin]:
        raise CheckError(f"installed here, but not in {LOCK.name}: {', '.join(other)}: make lock")
    (DIST / REQUIREMENTS).write_text("".join(entries[name] for name in pins))
    return f"{len(pins)} in {REQUIREMENTS}, with hashes"


def _packages() -> tuple[set[str], set[str]]:
    """Give the packages that the wheel needs with all its extras: those that are installed here, and the others."""
    wheel = next(DIST.glob("*.whl"), None)
    if wheel is None:
        raise CheckError("there is no wheel")
    folder = zipfile.Path(wheel, f"{wheel.name.rsplit('-', 3)[0]}.dist-info/")
    return with_requirements(PathDistribution(folder).requires or [], EXTRAS)


def _check_licences() -> str:
    found, _ = _packages()
    stated = {name: licences_of(name) for name in sorted(found)}
    refused = [f"{name}: {', '.join(own) or 'none stated'}" for name, own in stated.items() if is_refused(own)]
    if refused:
        raise CheckError("GPL, AGPL or none stated:\n  " + "\n  ".join(refused))
    return f"none of {len(found)} packages is under the GPL or AGPL"


def _audit(tools: Path) -> str:
    # Strict: a package for which it gets no answer is else left out, and without a connection all of them are.
    options = ("--strict", "--no-deps", "--disable-pip", "--progress-spinner=off")
    try:
        _call(tools, "pip-audit", *options, "-r", str(DIST / REQUIREMENTS))
    except CheckError as error:
        found = "it found known weaknesses, or got no answer: it needs a connection to the database of advisories"
        raise CheckError(f"{found}\n  {error}") from None
    return "no known weaknesses"


def _write_sbom(tools: Path) -> str:
    options = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON")
    _call(tools, "cyclonedx-py", "requirements", *options, "-o", str(DIST / SBOM), str(DIST / REQUIREMENTS))
    return SBOM


def _write_sums() -> str:
    files = [*map(Path, _built()), DIST / SBOM]
    present = [file for file in files if file.is_file()]
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in present)
    (DIST / SUMS).write_text(sums)
    if len(present) < len(files) or len(files) < 3:
        raise CheckError("there is not everything that should be published")
    return f"{SUMS}: {len(files)} files"


def _by_hand() -> str:
    number = _version()
    return f"""Ready. What a person has to do:
  1. make test-all, make bench, and make test-server URI=... for each Milvus that the README names
  2. git tag -s v{number} -m "Roost {number}" && git push origin v{number}
  3. {sys.argv[1]}/twine upload {" ".join(f"dist/{Path(one).name}" for one in _built())}
  4. publish the tag's release with the section of CHANGELOG.md, {SBOM} and {SUMS}"""


def _built() -> list[str]:
    return [str(one) for pattern in ("*.whl", "*.tar.gz") for one in sorted(DIST.glob(pattern))]


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return ended.stdout.strip()


def _call(tools: Path, program: str, *arguments: str) -> str:
    """Call a program of the release's environment: what it printed.

    Raises:
        CheckError: It failed, with the end of what it printed, or cannot be started.
    """
    try:
        ended = subprocess.run([tools / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError as error:
        raise CheckError(f"{program} cannot be started: {error}") from None
    printed = (ended.stdout + ended.stderr).strip()
    if ended.returncode:
        raise CheckError("\n  ".join(printed.splitlines()[-12:]) or f"{program} ended with code {ended.returncode}")
    return printed


def _last_line(printed: str) -> str:
    return " ".join(printed.splitlines()[-1:])


if __name__ == "__main__":
    main()
