"""`roost://` URIs name files that are installed with Roost."""

from __future__ import annotations

from pathlib import Path

from roost.tasks.packaged_files import resolve_packaged
from roost.tasks.sources.source import Source


def test_a_packaged_uri_becomes_a_local_path_and_everything_else_stays_as_it_is():
    handbook = resolve_packaged("roost://examples/handbook")
    assert (Path(handbook) / "visitors" / "faq.csv").is_file()
    for other in ("examples/handbook", "/sources/docs", "s3://bucket/docs", "zip://*.md::docs.zip"):
        assert resolve_packaged(other) == other


def test_a_packaged_source_is_the_folder_itself():
    packaged = Source(uri="roost://examples/handbook")
    folder = Source(uri=resolve_packaged("roost://examples/handbook"))
    assert (packaged, packaged.key, packaged.place) == (folder, "handbook", folder.place)
