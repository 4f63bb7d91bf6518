"""Bytes to text: one parser a format. Pure, so that it can run in a worker process.

Every parser returns passages of plain or Markdown text. HTML and DOCX become Markdown, so that their headings
are kept the same way. Nothing here knows of Milvus, Prefect or models.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from roost.tasks.errors import DocumentError

#: Files that hold no text at all: skipped and counted, not quarantined.
MEDIA_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".bmp",
        ".ico",
        ".svg",
        ".tif",
        ".tiff",
        ".heic",
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".m4a",
        ".mp4",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".woff",
        ".woff2",
        ".ttf",
        ".otf",
        ".eot",
        ".zip",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".7z",
        ".rar",
        ".jar",
        ".whl",
        ".so",
        ".dll",
        ".dylib",
        ".exe",
        ".o",
        ".a",
        ".pyc",
        ".class",
        ".bin",
        ".db",
        ".sqlite",
        ".safetensors",
        ".pt",
        ".onnx",
    ]
)


@dataclass(frozen=True)
class TextBlock:
    """A stretch of a document's text. `page` counts from 1, 0 where the format has none."""

    text: str
    page: int = 0
    markdown: bool = False


@dataclass(frozen=True)
class Parsed:
    """A document's text, in order, with its title and metadata."""

    passages: tuple[TextBlock, ...]
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


#: Which part of a document's pages, and of how many parts.
PageRange = tuple[int, int]
WHOLE_FILE: PageRange = (0, 1)


def has_parts(name: str) -> bool:
    """Whether a file of this name can be parsed in parts, by several processes at once."""
    return PurePosixPath(name).suffix.lower() == ".pdf"


def parse(data: bytes, name: str, part: PageRange = WHOLE_FILE) -> Parsed:
    """Turn a file's bytes into text.

    Args:
        data: The whole file.
        name: File name; its suffix chooses the parser.
        part: Of a file that has parts, the one to parse: `join` puts them together.

    Raises:
        DocumentError: The file is empty, damaged, encrypted, of no known format or without text.
    """
    if not data:
        raise DocumentError("empty", "the file has 0 bytes")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in MEDIA_SUFFIXES:
        raise DocumentError("unknown_format", f"{suffix} files hold no text that Roost can read")
    if has_parts(name):
        parsed = parse_pdf(data, part)
        return parsed if part != WHOLE_FILE else join([parsed])
    parsed = _PARSERS.get(suffix, parse_text)(data)
    _refuse_without_text(parsed)
    return parsed


def join(parts: Sequence[Parsed]) -> Parsed:
    """Put together the parts of a document, in their order.

    Raises:
        DocumentError: None of its pages can be read, or they are without text.
    """
    passages = tuple(passage for part in parts for passage in part.passages)
    failed = [page for part in parts for page in part.metadata["unreadable_pages"]]
    if failed and len(failed) == len(passages):
        raise DocumentError("damaged", f"none of its {len(passages)} pages can be read")
    unreadable = {"unreadable_pages": ", ".join(map(str, failed))} if failed else {}
    joined = Parsed(passages, parts[0].title, {"pages": len(passages), **unreadable})
    _refuse_without_text(joined)
    return joined


def _refuse_without_text(parsed: Parsed) -> None:
    if not any(passage.text.strip() for passage in parsed.passages):
        raise DocumentError("no_text", "no text was found in it (a scan needs OCR first)")


def parse_text(data: bytes) -> Parsed:
    """Parse plain text or source code in any encoding."""
    return Parsed((TextBlock(decode(data)),))


def parse_markdown(data: bytes) -> Parsed:
    """Parse Markdown or MDX: front matter becomes metadata, the rest stays as it is."""
    metadata, body = split_front_matter(decode(data))
    title = clean(str(metadata.pop("title", "") or _first_heading(body)))
    if not body.strip():  # a page that is all front matter: a stub, or one that a site generator fills
        body = clean("\n".join(filter(None, [title, *(f"{key}: {value}" for key, value in metadata.items())])))
    return Parsed((TextBlock(body, markdown=True),), title, metadata)


def parse_html(data: bytes) -> Parsed:
    """Parse a web page by way of Markdown, without scripts and styles."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(_decode_html(data), "html.parser")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    language = page.html.get("lang") if page.html else None
    text = _to_markdown(str(page.body or page))
    return Parsed((TextBlock(text, markdown=True),), title, {"language": str(language)} if language else {})


def parse_docx(data: bytes) -> Parsed:
    """Parse a Word document by way of HTML and Markdown: headings, lists and tables are kept."""
    import mammoth

    try:
        html = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(lambda _: {})).value
    except Exception as error:  # noqa: BLE001  mammoth raises almost anything on a damaged file
        raise DocumentError("damaged", f"not a readable .docx: {_first_line(error)}") from None
    text = _to_markdown(html)
    return Parsed((TextBlock(text, markdown=True),), _first_heading(text))


def parse_pdf(data: bytes, part: PageRange = WHOLE_FILE) -> Parsed:
    """Parse part of a PDF page by page; a page that fails is noted in the metadata, the others are kept."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("encrypted", "it opens with a password only")
        pages, failed = _pdf_pages(reader, part)
        title = _pdf_title(reader)
    except DocumentError:
        raise
    except (PyPdfError, NotImplementedError) as error:
        raise DocumentError("damaged", f"pypdf: {_first_line(error)}") from None
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001  pypdf does too
        raise DocumentError("damaged", f"pypdf: {type(error).__name__}: {_first_line(error)}") from None
    return Parsed(tuple(pages), title, {"unreadable_pages": failed})


def _pdf_pages(reader: Any, part: PageRange) -> tuple[list[TextBlock], list[int]]:
    pages: list[TextBlock] = []
    failed: list[int] = []
    nth, parts = part
    first, end = (len(reader.pages) * n // parts for n in (nth, nth + 1))
    for number in range(first + 1, end + 1):
        try:
            text = clean(reader.pages[number - 1].extract_text())
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001  as above; one page must not take the others with it
            failed.append(number)
            text = ""
        pages.append(TextBlock(text, page=number))
    return pages, failed


def _pdf_title(reader: Any) -> str:
    title = reader.metadata.get("/Title") if reader.metadata else None
    return clean(title).strip() if isinstance(title, str) else ""


def decode(data: bytes) -> str:
    """Decode text of unknown encoding: a byte order mark, then UTF-8, then the likeliest by its letters.

    Raises:
        DocumentError: The bytes are not text.
    """
    import charset_normalizer

    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return clean(data.decode(encoding, errors="replace"))
    text = as_utf8(data)
    if text is not None and "\0" not in text:
        return clean(text)
    best = charset_normalizer.from_bytes(data).best()
    if best is None or charset_normalizer.is_binary(data[:65_536]):
        raise DocumentError("unknown_format", "the bytes are neither a known format nor text")
    return clean(str(best))


def as_utf8(data: bytes) -> str | None:
    """Decode UTF-8 of whose letters beyond ASCII at most 1 in 20 is damaged; None when it is something else."""
    text = data.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    return text if damaged * 20 <= len(text) - len(text.encode("ascii", errors="ignore")) else None


def _decode_html(data: bytes) -> str:
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    if not declared or data.startswith(tuple(_MARKS)):
        return decode(data)
    try:
        return clean(data.decode(_DECLARED.get(declared.lower(), declared)))
    except (LookupError, ValueError):
        return decode(data)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split YAML front matter from Markdown; without any, or with a broken one, the text stays whole."""
    import yaml

    match = re.match(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", text, re.DOTALL)
    if not match:
        return {}, text
    try:
        metadata = yaml.safe_load(match.group(1))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text
    if not isinstance(metadata, dict) or not _is_plain(metadata):
        return {}, text
    return {str(key): value for key, value in metadata.items()}, text[match.end() :]


def _is_plain(metadata: dict[Any, Any]) -> bool:
    """Whether it is JSON of a sane size; YAML can hold cycles, NaN, half characters, and lists that unfold for ever."""
    size = 0
    try:
        for part in json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).iterencode(metadata):
            size += len(part.encode())
            if size > _LONGEST_FRONT_MATTER:
                return False
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def clean(text: str) -> str:
    """Make text storable: one kind of line end, no NUL, no half surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _first_heading(markdown: str) -> str:
    """Find the first `# heading` that is no comment in a block of code."""
    prose = re.sub(r"^ {0,3}(```|~~~).*?(^ {0,3}\1|\Z)", "", markdown, flags=re.MULTILINE | re.DOTALL)
    heading = re.search(r"^#[^\S\n]+(.+?)[^\S\n]*#*$", prose, re.MULTILINE)
    return heading.group(1) if heading else ""


def _to_markdown(html: str) -> str:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(["script", "style", "noscript", "template", "svg", "img", "iframe"]):
        tag.decompose()
    text = MarkdownConverter(
        heading_style="atx",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        strip=["a"],
        table_infer_header=True,
    ).convert_soup(soup)
    return re.sub(r"\n{3,}", "\n\n", clean(text)).strip() + "\n"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


#: What browsers take a declared encoding for; pages hold more than it has. WHATWG Encoding Standard, 4.2 Labels.
_DECLARED = {
    **dict.fromkeys(("ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis"), "cp932"),
    **dict.fromkeys(("utf-16", "utf-16le", "utf-16be"), "utf-8"),
    "euc-kr": "cp949",
}

_LONGEST_FRONT_MATTER = 100_000  # bytes of JSON

_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}

_PARSERS: dict[str, Callable[[bytes], Parsed]] = {
    ".docx": parse_docx,
    **dict.fromkeys((".html", ".htm", ".xhtml"), parse_html),
    **dict.fromkeys((".md", ".markdown", ".mdx"), parse_markdown),
}
