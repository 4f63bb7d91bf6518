"""What the benchmarks index: real Markdown and a real PDF where they are at hand, else the handbook's."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.conftest import DATA, ROOT

HANDBOOK = ROOT / "examples" / "handbook"
SCIFACT = DATA / "scifact"


def markdown_folder(folder: Path, files: int) -> tuple[Path, str]:
    """Lay down a number of Markdown documents: the folder, and what they are."""
    archives = sorted((DATA / "docs_prefect").glob("*.tar.gz"))
    if archives:
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder / "all", filter="data")
        found, name = sorted((folder / "all").rglob("*.md*")), "Prefect's documentation"
    else:
        found, name = sorted(HANDBOOK.rglob("*.md")), "the handbook's Markdown"
    step = max(1, len(found) // files)  # from all over it, not one corner
    for number, file in enumerate(found[::step][:files]):
        copy = folder / "markdown" / f"{number:04d}-{file.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return folder / "markdown", name


def pdf_folder() -> tuple[Path, str]:
    """Find PDF documents: the folder, and what they are."""
    filings = DATA / "tutorial" / "10k"
    if filings.is_dir():
        return filings, "a filing of 307 pages"
    return HANDBOOK / "safety", "the handbook's PDFs"
