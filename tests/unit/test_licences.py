"""The licences of what reads documents, and of all that it needs, from the metadata of the installed packages."""

from __future__ import annotations

import re

import pytest
from packaging.utils import canonicalize_name
from tests.conftest import ROOT
from tests.release.packages import is_refused, licences_of, with_requirements


def test_no_package_that_reads_documents_is_under_the_gpl_or_agpl_and_the_docs_name_them() -> None:
    page = (ROOT / "docs" / "parsers.md").read_text("utf-8").partition("## Licences")[2].partition("\n## ")[0]
    named = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)[1:])
    packages = {package for packages in named.values() for package in packages.split(", ")}
    assert {"pypdfium2", "pdfplumber", "python-pptx", "python-calamine", "mammoth", "rapidocr"} <= packages
    found, _ = with_requirements(packages)
    assert {canonicalize_name(package) for package in packages} <= found
    assert [(package, licences_of(package)) for package in found if is_refused(licences_of(package))] == []


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ([], True),
        (["GPL-3.0-only"], True),
        (["AGPL-3.0"], True),
        (["GPL", "License :: OSI Approved :: GNU General Public License (GPL)"], True),
        (["Artistic License", "License :: OSI Approved :: GNU General Public License (GPL)"], False),  # one may choose
        (["LGPL-2.1"], False),
        (["License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"], False),
        (["MIT"], False),
    ],
)
def test_a_package_under_the_gpl_alone_or_without_a_licence_is_refused(licences: list[str], expected: bool) -> None:
    assert is_refused(licences) == expected
