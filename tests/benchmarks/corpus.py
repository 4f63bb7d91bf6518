"""What the benchmarks index: real Markdown and a real PDF where they are at hand, else the handbook's."""

from __future__ import annotations

import tarfile
from pathlib import Path

from fpdf import FPDF
from tests.conftest import DATA, ROOT

HANDBOOK = ROOT / "examples" / "handbook"
SCIFACT = DATA / "scifact"
#: Pages of a PDF without tables, and the characters of each: as many as those of the filing.
PROSE_PAGES, PROSE_CHARACTERS = 307, 4_100


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


def prose_pdf_folder(folder: Path, markdown: Path) -> Path:
    """Make a PDF as long as the filing, of text without tables: the words of Markdown documents, in their order."""
    words = " ".join(" ".join(file.read_text("utf-8", "replace").split()) for file in sorted(markdown.rglob("*.md*")))
    text = words.encode("latin-1", "replace").decode("latin-1").replace("|", " ")
    while len(text) < PROSE_PAGES * PROSE_CHARACTERS:  # the handbook is shorter
        text += f" {len(text)} {text}"
    pdf = FPDF()
    pdf.set_font("helvetica", size=9)
    for page in range(PROSE_PAGES):
        pdf.add_page()
        pdf.multi_cell(0, 4, text[page * PROSE_CHARACTERS : (page + 1) * PROSE_CHARACTERS])
    made = folder / "prose" / "prose.pdf"
    made.parent.mkdir()
    pdf.output(str(made))
    return made.parent
