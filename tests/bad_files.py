"""Files that no one should have to read: enormous sheets, archives that unpack to gigabytes, macros, false suffixes."""

from __future__ import annotations

import io
import struct
import zipfile

from tests.made_files import make_mail, make_xlsx

from roost.tasks.sources.parsers.mail import read_message

MACRO = b'Sub AutoOpen()\n Shell "calc"\nEnd Sub'
_SHEET = "xl/worksheets/sheet1.xml"


def with_parts(archive: bytes, **parts: bytes) -> bytes:
    """A copy of an archive with parts replaced or added."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in parts:
                new.writestr(name, old.read(name))
        for name, data in parts.items():
            new.writestr(name, data)
    return made.getvalue()


def long_sheet(rows: int) -> bytes:
    """A workbook of which one sheet has so many rows of three cells."""
    cells = (
        f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}"><v>{n * 37 % 1009}.25</v></c>'
        f'<c r="C{n}" t="inlineStr"><is><t>rope of {n % 83} metres</t></is></c></row>'
        for n in range(1, rows + 1)
    )
    return _workbook("".join(cells))


def far_cell() -> bytes:
    """A workbook of 5 kB with a cell in the first and one in the last place of a sheet."""
    return _workbook('<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>')


def _workbook(rows: str) -> bytes:
    start = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    return with_parts(make_xlsx(), **{_SHEET: f"{start}{rows}</sheetData></worksheet>".encode()})


def bomb(archive: bytes, part: str) -> bytes:
    """The archive with a part of 60 MB that packs to 60 kB."""
    return with_parts(archive, **{part: b"<a>" + b" " * 60_000_000})


def lying_bomb(archive: bytes, part: str, size: int) -> bytes:
    """The archive with a part that unpacks to so many bytes and says that it has ten."""
    made = bytearray(with_parts(archive, **{part: b"<a>" + b" " * size}))
    name = part.encode()
    for mark, at_size, at_name in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        place = made.find(mark)
        while made[place + at_name : place + at_name + len(name)] != name:
            place = made.find(mark, place + 4)
        struct.pack_into("<I", made, place + at_size, 10)
    return bytes(made)


def nested_mail(depth: int) -> bytes:
    """A mail in a mail, so many deep, with a text in the innermost."""
    mail = make_mail(**{"deep.txt": b"deep"})
    for _ in range(depth):
        outer = read_message(make_mail())
        outer.add_attachment(read_message(mail))
        mail = outer.as_bytes()
    return mail
