"""URIs of rows of tables, told from files and folders with `#` in their names."""

from __future__ import annotations

import pytest

from roost.tasks.sources.source import Source
from roost.tasks.sources.table_readers import READERS
from roost.tasks.sources.table_uris import TABLE_SUFFIXES, file_of, row_format, table_of


def test_every_kind_of_table_has_its_suffix_here() -> None:
    assert set(TABLE_SUFFIXES) == set(READERS)


@pytest.mark.parametrize(
    ("uri", "table", "read_as"),
    [
        ("t.csv#1", "t.csv", "csv row"),
        ("C#/T.JSONL.gz#a#b", "C#/T.JSONL.gz", "jsonl row"),
        ("C#.md", "", "row"),
        ("C#/a.md", "", "row"),
        ("t.csv", "", "row"),
    ],
)
def test_a_row_is_told_by_the_suffix_of_its_table(uri: str, table: str, read_as: str) -> None:
    assert table_of(uri) == table
    assert row_format(uri) == read_as


def test_the_format_in_the_ledger_tells_a_file_whose_name_looks_like_a_row() -> None:
    assert file_of("t.csv#a.md", "markdown") == "t.csv#a.md"
    assert file_of("t.csv#a.md", "csv row") == file_of("t.csv#a.md", "") == "t.csv"
    assert file_of("C#.md", "") == "C#.md"


def test_a_glob_covers_files_and_folders_with_a_number_sign_in_their_name() -> None:
    source = Source(uri="/nowhere", include=["**/*.md", "t.csv"], exclude=["drafts/**"])
    assert all(source.covers(uri) for uri in ("C#.md", "C#/a.md", "t.csv#1"))
    assert not source.covers("C#.txt")
    assert not source.covers("drafts/C#.md")
    assert source.covers("t.csv#a.md", "markdown")
    assert not source.covers("u.csv#a.md")
    assert source.covers("u.csv#a.md", "markdown")
