"""Render the handbook's PDF, DOCX, PPTX, XLSX, EML and cp1252 files from the texts in `sources/`.

A source `sources/<folder>/<name>.<suffix>.md` becomes `handbook/<folder>/<name>.<suffix>`; the
suffix picks the renderer. Every other file of the handbook is kept as it is read. Dates and
metadata are fixed, so that the same library versions give the same bytes.

Usage: python -m examples.make_handbook    (needs fpdf2, pypdfium2, pillow, python-docx and python-pptx)
"""

import textwrap
from collections.abc import Callable
from pathlib import Path, PurePath

from .rendering.blocks import Block, parse
from .rendering.mail import render_mail
from .rendering.office import render_docx, render_pptx, render_xlsx
from .rendering.pdf import render_pdf

HERE = Path(__file__).parent


def render_cp1252(blocks: list[Block]) -> bytes:
    """Write wrapped plain text as an old Windows editor saved it: cp1252, CRLF.

    Headings are capitals, whose accents (É is 0xC9) also tell detectors Windows from old Mac text.
    """
    parts = []
    for block in blocks:
        text = block.text.upper() if block.kind in ("title", "heading") else block.text
        parts.append("\r\n".join(textwrap.wrap(text, width=84)))
    return ("\r\n\r\n".join(parts) + "\r\n").encode("cp1252")


RENDERERS: dict[str, Callable[[list[Block]], bytes]] = {
    ".pdf": render_pdf,
    ".docx": render_docx,
    ".pptx": render_pptx,
    ".xlsx": render_xlsx,
    ".txt": render_cp1252,
}


def render(name: str, source: str) -> bytes:
    """Give the bytes of a file: its suffix picks the renderer."""
    suffix = PurePath(name).suffix
    return render_mail(source, render) if suffix == ".eml" else RENDERERS[suffix](list(parse(source)))


def main() -> None:
    """Render every source and say what was written, one line a file."""
    for source in sorted((HERE / "sources").rglob("*.md")):
        target = HERE / "handbook" / source.relative_to(HERE / "sources").with_suffix("")
        content = render(target.name, source.read_text(encoding="utf-8"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{target.relative_to(HERE)}  {len(content)} bytes")


if __name__ == "__main__":
    main()
