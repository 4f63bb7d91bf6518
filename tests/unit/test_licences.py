"""The licences of what reads documents, and of all that it needs, from the metadata of the installed packages."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata, requires

from tests.conftest import ROOT

_NAME = re.compile(r"[\w.-]+")


def licence_of(package: str) -> str:
    """What a package says of its licence, in all the fields that packages use for it."""
    facts = metadata(package)
    named = [one for one in facts.get_all("Classifier") or [] if one.startswith("License")]
    first_line = (facts.get("License") or "").strip().partition("\n")[0]
    return " ".join(filter(None, [facts.get("License-Expression"), first_line, *named]))


def with_requirements(packages: set[str]) -> set[str]:
    """The packages and all that they need, as far as they are installed."""
    found: set[str] = set()
    while packages:
        package = packages.pop()
        try:
            needed = requires(package) or []
        except PackageNotFoundError:
            continue
        found.add(package)
        names = {_NAME.match(one)[0] for one in needed if "extra ==" not in one}  # type: ignore[index]
        packages |= names - found
    return found


def test_no_package_that_reads_documents_is_under_the_gpl_or_agpl_and_the_docs_name_them() -> None:
    page = (ROOT / "docs" / "parsers.md").read_text("utf-8").partition("## Licences")[2].partition("\n## ")[0]
    named = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)[1:])
    packages = {package for packages in named.values() for package in packages.split(", ")}
    assert {"pypdfium2", "pdfplumber", "python-pptx", "python-calamine", "mammoth", "rapidocr"} <= packages
    found = with_requirements(set(packages))
    assert packages <= found
    for package in found:
        licence = licence_of(package)
        assert licence, package
        assert not re.search(r"(?<!L)GPL|(?<!Lesser )General Public", licence), f"{package}: {licence}"
