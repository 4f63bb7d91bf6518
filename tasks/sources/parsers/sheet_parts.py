"""The sheets of a workbook that is an archive (.xlsx, .xlsb): which of its parts they are, and which are hidden."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from roost.tasks.sources.parsers.sheet_records import read_records, wide_text

_FOLDER = "xl/"
_SHEETS = "xl/worksheets/"
#: Most bytes that are read of the list of sheets, and of the list of their parts.
_MAX_LIST_BYTES = 10_000_000
#: Type of a record of a .xlsb that describes a sheet.
_BUNDLE_SHEET = 156


class _Sheet(NamedTuple):
    relation: str
    is_hidden: bool


def shown_sheets(archive: zipfile.ZipFile) -> list[str]:
    """Name the parts of an archive that are sheets and not hidden; a sheet that no list names counts as shown."""
    names = archive.namelist()
    hidden = {part.lower() for part in _hidden_parts(archive)}
    is_sheet = (name.startswith(_SHEETS) and name.endswith((".xml", ".bin")) for name in names)
    return [name for name, is_one in zip(names, is_sheet, strict=True) if is_one and name.lower() not in hidden]


def _hidden_parts(archive: zipfile.ZipFile) -> Iterator[str]:
    for kind, read_sheets in (("xml", _xml_sheets), ("bin", _binary_sheets)):
        workbook = _read(archive, f"{_FOLDER}workbook.{kind}")
        if not workbook:
            continue
        targets = dict(_targets(_read(archive, f"{_FOLDER}_rels/workbook.{kind}.rels")))
        hidden = {one.relation for one in read_sheets(workbook) if one.is_hidden}
        shown = {targets.get(one.relation) for one in read_sheets(workbook) if not one.is_hidden}
        yield from (targets[relation] for relation in hidden & targets.keys() if targets[relation] not in shown)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a part of an archive; empty where there is none."""
    try:
        with archive.open(name) as part:
            return part.read(_MAX_LIST_BYTES)
    except KeyError:
        return b""


def _targets(relations: bytes) -> Iterator[tuple[str, str]]:
    """Give the part of each relation of the workbook."""
    for _, attributes in _elements(relations, "Relationship"):
        target = attributes.get("Target", "")
        yield attributes.get("Id", ""), posixpath.normpath(posixpath.join("/", _FOLDER, target)).lstrip("/")


def _xml_sheets(workbook: bytes) -> Iterator[_Sheet]:
    for relation, attributes in _elements(workbook, "sheet"):
        yield _Sheet(relation, attributes.get("state", "visible") != "visible")


def _elements(xml: bytes, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the elements of a name: their relation's id, and their attributes; none of a damaged text."""
    from lxml import etree

    try:
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return
    for element in root.iter(f"{{*}}{name}"):
        attributes = {str(key): str(value) for key, value in element.attrib.items()}
        yield next((value for key, value in attributes.items() if key.endswith("}id")), ""), attributes


def _binary_sheets(workbook: bytes) -> Iterator[_Sheet]:
    for kind, data in read_records(iter([workbook])):
        if kind == _BUNDLE_SHEET:  # its state and its number, four bytes each, then its relation
            yield _Sheet(wide_text(data[8:]), data[:4] != bytes(4))
