"""Damaged copies of a file of every kind that contains several documents, and of a web page and its site's files.

Tables, mailboxes, mails with attachments, archives, databases: each copy is listed and loaded, or refused with a line;
what is loaded can be stored, and each document that is not has a reason.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import sqlite3
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl
import pytest
from tests.made_files import make_mail, make_mbox, make_xlsx
from tests.made_pdfs import ruled_table
from tests.source_steps import NAME, load
from tests.stand_ins import listing_choices

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.records import Loaded
from roost.tasks.settings import Ingest
from roost.tasks.sources.connectors.contract import Content
from roost.tasks.sources.connectors.robots import parse_robots
from roost.tasks.sources.connectors.sitemap_xml import SitemapError, parse_sitemap
from roost.tasks.sources.main_text import main_content
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers.parse import read
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.testing import clean, mutate

T = TypeVar("T")
ROWS = [
    {"id": str(n), "title": f"Ferry {n}", "text": f'It leaves at {n}, with "quotes", commas\nand lines. ü'}
    for n in range(9)
]


def made_table(write: str) -> bytes:
    getattr(pl.DataFrame(ROWS), write)(made := io.BytesIO())
    return made.getvalue()


def made_archive() -> bytes:
    with zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.md", "# Ferry\n\nIt leaves at noon.\n" * 20)
        archive.writestr("in/b.txt", "Text.")
        archive.writestr("c.xlsx", make_xlsx())
    return made.getvalue()


def made_database() -> bytes:
    with TemporaryDirectory() as folder, closing(sqlite3.connect(file := Path(folder, "a.sqlite"))) as database:
        with database:
            database.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, title TEXT, text TEXT)")
            database.executemany("INSERT INTO notes VALUES (:id, :title, :text)", ROWS)
        return file.read_bytes()


PAGE = b"""<html lang=de><head><title>Ferry</title><meta name=author content=Ann></head><body><nav>Home</nav><main>
<h1>Ferry</h1><p>It leaves at noon.</p><table><tr><th>Way<th>Fare<tr><td>West<td>4</table>
<pre>code</pre></main></body></html>"""
SITEMAP = b"""<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
<url><loc>https://example.org/a</loc><lastmod>2026-01-01</lastmod></url>
<url><loc>https://example.org/b</loc></url></urlset>"""
ROBOTS = (
    b"User-agent: *\nDisallow: /private/*.pdf$\nAllow: /\nCrawl-delay: 2\nSitemap: https://example.org/sitemap.xml\n"
)
SAMPLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.csv": (lambda: made_table("write_csv"), "{}"),
    "a.csv.gz": (lambda: gzip.compress(made_table("write_csv")), "{}"),
    "a.tsv": (lambda: made_table("write_csv").replace(b",", b"\t"), "{}"),
    "a.jsonl": (lambda: made_table("write_ndjson"), "{}"),
    "a.parquet": (lambda: made_table("write_parquet"), "{}"),
    "a.mbox": (lambda: make_mbox(make_mail(**{"a.pdf": ruled_table()}), make_mail(**{"b.txt": b"words"})), "{}"),
    "a.eml": (lambda: make_mail(**{"a.xlsx": make_xlsx(), "b.eml": make_mail(**{"c.txt": b"words"})}), "{}"),
    "a.zip": (made_archive, "zip://::{}"),
    "a.sqlite": (made_database, "sqlite:///{}?table=notes"),
}
#: Copies of each sample; the long form makes `--fuzz-count` of all samples together, from `--fuzz-seed`.
USUAL = 2
SECONDS = Ingest().parse_seconds / 10


def outcome(work: Callable[[], T], which: str) -> T | None:
    """What some work gives, or None where it is refused; a refusal is Roost's own, in one line."""
    try:
        return work()
    except (SourceError, DocumentError, SitemapError) as error:
        lines = str(error).splitlines()
    assert len(lines) == 1, which
    return None


def check(name: str, data: bytes, which: str, folder: Path) -> None:
    """List and load a file; errors must be Roost's, in one line."""
    (file := folder / name).write_bytes(data)
    (spool := folder / "spool").mkdir()

    def run() -> tuple[SourceListing, Loaded]:
        [opened] = open_sources([Source(uri=SAMPLES[name][1].format(file), name=NAME)], listing_choices())
        return (found := list_source(opened, spool)), asyncio.run(load(found, folder))

    started = time.process_time()
    result = outcome(run, which)
    assert time.process_time() - started < SECONDS, which
    if result is None:
        return
    found, loaded = result
    ended = loaded.documents.height + loaded.rejects.height
    assert ended == found.documents.height, which
    assert all(loaded.rejects["reason"]), which
    texts = [text for column in ("title", "metadata") for text in loaded.documents[column]]
    assert all(clean(text) == text for text in texts), which


def check_page(data: bytes, which: str) -> None:
    """Take the main text of a web page, and read it."""
    if made := outcome(lambda: main_content(Content(data, "text/html", is_web_page=True)), which):
        assert isinstance(made.data, bytes)
        read(made.data, "page.html")


def check_sitemap(data: bytes, which: str) -> None:
    if found := outcome(lambda: parse_sitemap(data), which):
        assert all(isinstance(url, str) for url in (*found.pages, *found.sitemaps)), which


def check_robots(data: bytes, which: str) -> None:
    found = parse_robots(data.decode("utf-8", "replace"), "roost")
    assert found.allows("/private/a.pdf") in (True, False), which


SITE: dict[str, tuple[bytes, Callable[[bytes, str], None]]] = {
    "page": (PAGE, check_page),
    "sitemap": (SITEMAP, check_sitemap),
    "sitemap.gz": (gzip.compress(SITEMAP), check_sitemap),
    "robots": (ROBOTS, check_robots),
}


def copies(name: str, data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for number, copy in enumerate(mutate(data, count, seed)):
        yield f"{name}, seed {seed}, copy {number}", copy


def attack(count: int, seed: int) -> Iterator[None]:
    """Check copies of all samples; `count` of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile and sqlite3 warn of what is damaged
        for name, (make, _) in SAMPLES.items():
            for which, data in copies(name, make(), count, seed):
                with TemporaryDirectory() as folder:
                    check(name, data, which, Path(folder))
                yield
        for name, (made, look) in SITE.items():
            for which, data in copies(name, made, count, seed):
                look(data, which)
                yield


def test_every_sample_is_read_as_it_is(tmp_path: Path) -> None:
    for name, (make, place) in SAMPLES.items():
        (file := tmp_path / name).write_bytes(make())
        (spool := tmp_path / f"spool-{name}").mkdir()
        [opened] = open_sources([Source(uri=place.format(file), name=NAME)], listing_choices())
        assert list_source(opened, spool).documents.height >= 3, name
    assert parse_sitemap(SITEMAP).pages == parse_sitemap(gzip.compress(SITEMAP)).pages
    assert not parse_robots(ROBOTS.decode(), "roost").allows("/private/a.pdf")


def test_a_damaged_source_is_listed_or_refused() -> None:
    assert sum(1 for _ in attack(USUAL, 7)) == USUAL * (len(SAMPLES) + len(SITE))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_thousand_damaged_sources_are_listed_or_refused(fuzz: tuple[int, int]) -> None:
    count, seed = fuzz
    each = -(-count // (len(SAMPLES) + len(SITE)))
    assert sum(1 for _ in attack(each, seed)) >= count
