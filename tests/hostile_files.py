"""Files that try to stop a run: bombs of every format, endless and nested structures, and what is no file at all."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bad_files import bomb, far_cell, lying_bomb, with_parts
from tests.made_files import make_epub, make_pptx, make_xlsx
from tests.unit.sources.test_parsers import make_docx

GIB = 1 << 30
DEPTH = 100_000
#: The part of each zip-based format that its parser must read.
TEXT_PARTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "docx": (make_docx, "word/document.xml"),
    "docm": (make_docx, "word/document.xml"),
    "pptx": (make_pptx, "ppt/slides/slide1.xml"),
    "pptm": (make_pptx, "ppt/slides/slide1.xml"),
    "xlsx": (make_xlsx, "xl/worksheets/sheet1.xml"),
    "xlsm": (make_xlsx, "xl/worksheets/sheet1.xml"),
    "epub": (make_epub, "EPUB/text/one.xhtml"),
}
SECRET = "the content of a file that no document may read"
_LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


def _zip_of(parts: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return made.getvalue()


def _entities(kind: str, secret: Path) -> bytes:
    """The archive whose text refers to entities that multiply, and to a file beside it."""
    make, part = TEXT_PARTS[kind]
    with zipfile.ZipFile(io.BytesIO(make())) as archive:
        text = archive.read(part).decode()
    start = text.index("?>") + 2 if text.startswith("<?xml") else 0
    named = text[start:].lstrip().partition("<")[2].split(">")[0].split()[0]
    doctype = f'<!DOCTYPE {named} [<!ENTITY a0 "ha">{_LAUGHS}<!ENTITY file SYSTEM "{secret.as_uri()}">]>'
    place = text.index(">", text.index(f"<{named}")) + 1
    return with_parts(make(), **{part: f"{text[:start]}{doctype}{text[start:place]}&a9;&file;{text[place:]}".encode()})


def pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, the first of which is the catalogue; readers find them without a table."""
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, data) for number, data in enumerate(objects, start=1))
    return b"%PDF-1.7\n" + body + b"trailer\n<</Root 1 0 R /Size %d>>\n%%%%EOF\n" % (len(objects) + 1)


def _stream(data: bytes, facts: bytes = b"") -> bytes:
    return b"<<%s /Length %d>>\nstream\n%s\nendstream" % (facts, len(data), data)


def _deflated(size: int, *, times: int = 1) -> bytes:
    """So many zero bytes, compressed so many times."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    data = b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()
    for _ in range(times - 1):
        data = zlib.compress(data, 9)
    return data


_PAGES = b"<</Type /Pages /Kids [3 0 R] /Count 1>>"
_PAGE = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources <<%s>>>>"


def pdf_content_bomb() -> bytes:
    filters = b"/Filter [/FlateDecode /FlateDecode]"
    return pdf(b"<</Pages 2 0 R>>", _PAGES, _PAGE % b"", _stream(_deflated(2 * GIB, times=2), filters))


def pdf_object_stream_bomb() -> bytes:
    packed = _stream(_deflated(2 * GIB), b"/Type /ObjStm /N 1000000 /First 10000000 /Filter /FlateDecode")
    return pdf(b"<</Pages 5 0 R>>", _PAGES, _PAGE % b"", packed)


def pdf_deep_pages() -> bytes:
    nodes = (b"<</Type /Pages /Count 1 /Kids [%d 0 R]>>" % (number + 3) for number in range(DEPTH))
    return pdf(b"<</Pages 2 0 R>>", *nodes, b"<</Type /Page /MediaBox [0 0 9 9]>>")


def pdf_page_loop() -> bytes:
    return pdf(b"<</Pages 2 0 R>>", b"<</Type /Pages /Count 99999999 /Kids [2 0 R 2 0 R]>>")


def pdf_many_pages() -> bytes:
    kids = b"3 0 R " * 1_000_000
    return pdf(b"<</Pages 2 0 R>>", b"<</Type /Pages /Count 1000000 /Kids [%s]>>" % kids, _PAGE % b"", _stream(b""))


def pdf_huge_image() -> bytes:
    facts = b"/Type /XObject /Subtype /Image /Width 60000 /Height 60000 /BitsPerComponent 8 /ColorSpace /DeviceGray"
    image = _stream(_deflated(GIB), facts + b" /Filter /FlateDecode")
    page = _PAGE % b"/XObject <</I 5 0 R>>"
    return pdf(b"<</Pages 2 0 R>>", _PAGES, page, _stream(b"q 612 0 0 792 0 0 cm /I Do Q"), image)


def pdf_nested_arrays() -> bytes:
    return pdf(b"<</Pages 2 0 R /Names %s%s>>" % (b"[" * DEPTH, b"]" * DEPTH), _PAGES, _PAGE % b"", _stream(b""))


def pdf_form_loop() -> bytes:
    facts = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</F 5 0 R>>>>"
    page = _PAGE % b"/XObject <</F 5 0 R>>"
    return pdf(b"<</Pages 2 0 R>>", _PAGES, page, _stream(b"/F Do"), _stream(b"/F Do /F Do", facts))


def _nested(start: str, end: str, text: str = " words of the innermost ") -> bytes:
    return f"{start * DEPTH}{text}{end * DEPTH}".encode()


#: Files by name, and how their content is made.
CONTENTS: dict[str, Callable[[], bytes]] = {
    **{f"bomb.{kind}": lambda make=make, part=part: bomb(make(), part) for kind, (make, part) in TEXT_PARTS.items()},
    "bomb.ods": lambda: bomb(_zip_of({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}), "content.xml"),
    "bomb.xlsb": lambda: bomb(make_xlsx(), "xl/worksheets/sheet1.bin"),
    "lying.docx": lambda: lying_bomb(make_docx(), "word/document.xml", 60_000_000),
    "far.xlsx": far_cell,
    "parts.docx": lambda: _zip_of({f"word/{n}.xml": b"" for n in range(30_000)}),
    "pages.pdf": pdf_many_pages,
    "page-tree.pdf": pdf_deep_pages,
    "page-loop.pdf": pdf_page_loop,
    "form-loop.pdf": pdf_form_loop,
    "arrays.pdf": pdf_nested_arrays,
    "content.pdf": pdf_content_bomb,
    "objects.pdf": pdf_object_stream_bomb,
    "image.pdf": pdf_huge_image,
    "tags.html": lambda: _nested("<div>", "</div>"),
    "bold.html": lambda: _nested("<b>", "</b>"),
    "unclosed.html": lambda: _nested("<table><tr><td>", ""),
    "lists.html": lambda: _nested("<ul><li>", "</li></ul>"),
    "attributes.html": lambda: b"<p " + b" ".join(b"a%d=1" % n for n in range(DEPTH)) + b">words</p>",
    "brackets.ipynb": lambda: _nested("[", "]", "1"),
    "objects.ipynb": lambda: _nested('{"cells":', "}", "[]"),
    "quotes.md": lambda: _nested("> ", ""),
    "links.md": lambda: _nested("[", "](x)"),
    "stars.md": lambda: _nested("**a ", "**"),
    "fences.md": lambda: b"```\n" * DEPTH,
    "yaml-brackets.md": lambda: b"---\na: " + _nested("[", "]", "1") + b"\n---\n# Words\n",
    "yaml-indents.md": lambda: b"---\n" + b"".join(b" " * n + b"a:\n" for n in range(2_000)) + b"---\n# Words\n",
    "yaml-aliases.md": lambda: (
        b"---\na0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))
        + b"---\n# Words\n"
    ),
    "parts.eml": lambda: (
        b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(5_000))
        + b"\nwords"
    ),
    "headers.eml": lambda: b"".join(b"X-%d: a\n" % n for n in range(DEPTH)) + b"Subject: Words\n\nwords\n",
    "references.eml": lambda: b"Subject: " + b"=?utf-8?q?a?= " * DEPTH + b"\n\nwords\n",
    "lines.txt": lambda: b"".join(b"line %d\n" % n for n in range(5_000_000)),
    "one-line.txt": lambda: b"word " * 10_000_000,
    "controls.txt": lambda: b"words \x1b]0;title\x07\x1b[2J\x9b31m \x00\x08\x7f and more words\n" * 100,
    "surrogates.txt": lambda: "words \ud800 \udfff".encode("utf-16-le", "surrogatepass") * 100,
    "long.txt": lambda: b"x" * 70_000,
    "combining.txt": lambda: ("a" + "\u0301" * 200_000).encode(),
}


def entity_files(secret: Path) -> Iterator[tuple[str, bytes]]:
    """Files of every format of XML with entities that multiply, and one that names the file `secret`."""
    for kind in ("docx", "pptx", "xlsx", "epub"):
        yield f"entities.{kind}", _entities(kind, secret)
    yield "entities.html", f'<!DOCTYPE p [<!ENTITY f SYSTEM "{secret.as_uri()}">]><p>words &f;</p>'.encode()


def sparse(file: Path, size: int = 2 * GIB) -> None:
    """A file of so many zero bytes that takes no space."""
    with file.open("wb") as stream:
        stream.truncate(size)


def gzip_bomb(size: int) -> bytes:
    """So many bytes of a CSV, in a file a thousandth as large."""
    made = io.BytesIO()
    with gzip.open(made, "wb") as stream:
        stream.write(b"id,text\n")
        for _ in range(size >> 20):
            stream.write(b"1,a\n" * (1 << 18))
    return made.getvalue()


def huge_cell(file: Path, size: int, *, lines: bool) -> None:
    """A CSV with one cell of so many bytes, in one line or in lines of a kilobyte."""
    block = (b"x" * 1023 + b"\n") * 1024 if lines else b"x" * (1 << 20)
    with file.open("wb") as stream:
        stream.write(b'id,text\n1,"')
        for _ in range(size >> 20):
            stream.write(block)
        stream.write(b'"\n2,words of the next row\n')


def odd_entries(folder: Path) -> None:
    """What is no file to read: a pipe, a device, loops of folders, links that leave the source."""
    os.mkfifo(folder / "pipe.md")
    (folder / "device.md").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder)
    (folder / "self.md").symlink_to(folder / "self.md")
    (folder / "out.md").symlink_to("/etc/hostname")
