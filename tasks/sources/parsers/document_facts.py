"""What a document says of itself, under the names that all formats share: `authors`, `created`, `language`."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from roost.tasks.sources.parsers.markdown_tables import plain_cell

_CORE_PART = "docProps/core.xml"
_PDF_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")
_ISO_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_MAX_CORE_BYTES = 1_000_000


def document_facts(*, authors: Iterable[Any] = (), created: Any = "", language: Any = "") -> dict[str, str]:
    """Give what is known as metadata.

    Args:
        authors: Names; they become one text with semicolons between them.
        created: A date, ISO 8601, or a date of a PDF; it becomes `YYYY-MM-DD`, or the part of it that is known.
        language: A tag as `de` or `en-GB`.
    """
    names = [name for author in authors if isinstance(author, str) and (name := plain_cell(author))]
    written_by = "; ".join(dict.fromkeys(names))
    facts = {"authors": written_by, "created": _as_date(created), "language": _as_language(language)}
    return {name: value for name, value in facts.items() if value}


def office_facts(data: bytes) -> dict[str, str]:
    """Read the properties of an Office file, an archive with the part `docProps/core.xml`; none where it is damaged."""
    found = _core_properties(data)
    return document_facts(
        authors=found.get("creator", "").split(";"), created=found.get("created"), language=found.get("language")
    )


def office_title(data: bytes) -> str:
    """Read the title among the properties of an Office file; empty where there is none."""
    return plain_cell(_core_properties(data).get("title", ""))


def _core_properties(data: bytes) -> dict[str, str]:
    from lxml import etree

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_CORE_PART) as part:
            core = part.read(_MAX_CORE_BYTES)
        root = etree.fromstring(core, etree.XMLParser(resolve_entities=False, no_network=True))
    except (
        KeyError,
        OSError,
        ValueError,
        RuntimeError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        etree.XMLSyntaxError,
    ):
        return {}
    return {one.tag.rpartition("}")[2]: one.text or "" for one in root if isinstance(one.tag, str)}


def _as_date(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).date().isoformat() if value.tzinfo else value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = value.strip() if isinstance(value, str) else ""
    found = _ISO_DATE.match(text)
    if found and ("-" in found[0] or found[0] == text):
        return found[0]
    pdf = _PDF_DATE.match(text)
    return "-".join(part for part in pdf.groups() if part) if pdf else ""


def _as_language(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if _LANGUAGE.fullmatch(text) else ""
