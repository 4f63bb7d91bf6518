"""Locations: a local path is never a URL, a chain or a pattern, and no secret of a URL reaches a message."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from roost.tasks.errors import DocumentError, RoostError, SourceError
from roost.tasks.ids import content_hash, hash_file
from roost.tasks.locations import REFUSED_BY_SCHEMA, find_secret, hide_secrets, open_location

HARMLESS = [
    "docs/a.md",
    "docs/user:password@host?token=x",  # a local name
    "s3://bucket/docs/?.md",
    "https://host/export.csv?format=csv&page=2&design=1&keyword=x",
    "https://user@host/docs",
    "abfs://container@account.dfs.core.windows.net/docs",
    "github://org:repo@main/docs",
    "hdfs://user@namenode/docs",
    "zip://in::https://host/a.zip?download=1",
]
SECRET = [
    ("sftp://user:pass@host/docs", "a password"),
    ("zip://in::sftp://user:pass@host/a.zip", "a password"),
    ("https://bucket/a.md?X-Amz-Date=1&X-Amz-Signature=abc", "'X-Amz-Signature'"),
    ("https://account/a.csv?sv=2024&sig=abc%3D", "'sig'"),
    ("https://host/a.csv?access_token=abc", "'access_token'"),
    ("https://host/a.csv?api_key=abc", "'api_key'"),
    ("https://bucket/a.md?AWSAccessKeyId=AKIA&Expires=1", "'AWSAccessKeyId'"),
]


@pytest.mark.parametrize("name", ["b.md::draft.md", "zip::x.zip", "a[1].md", "b*.md", "c?.md", "s3:x.md"])
def test_a_local_file_is_opened_under_its_own_name(tmp_path: Path, name: str) -> None:
    for other in ("b.md", "draft.md", "a1.md", "b2.md", "c2.md"):
        (tmp_path / other).write_text("another file")
    (tmp_path / name).write_text("this one")
    for location in (str(tmp_path / name), f"file://{tmp_path / name}"):
        with open_location(location) as stream:
            assert stream.read() == b"this one"
        assert hash_file(location) == content_hash(b"this one")


def test_a_large_file_is_hashed_without_being_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large.log").open("wb") as file:
        file.truncate(32 * 2**20)
    expected = content_hash(bytes(32 * 2**20))
    tracemalloc.start()
    try:
        assert hash_file(str(tmp_path / "large.log")) == expected
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("uri", HARMLESS)
def test_a_url_without_a_secret_is_taken(uri: str) -> None:
    assert find_secret(uri) == ""


@pytest.mark.parametrize(("uri", "found"), SECRET)
def test_a_secret_in_a_url_is_named_by_its_parameter_and_not_shown(uri: str, found: str) -> None:
    assert found in find_secret(uri)
    for secret in ("pass@", "abc", "AKIA"):
        assert secret not in hide_secrets(uri)


def test_a_prefect_server_refuses_by_its_pattern_what_roost_would_refuse() -> None:
    assert [uri for uri in HARMLESS if "://" in uri and re.search(REFUSED_BY_SCHEMA, uri)] == []
    assert [uri for uri, _ in SECRET if not re.search(REFUSED_BY_SCHEMA, uri)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("403 for https://h/a.md?sig=abc: Forbidden", "403 for https://h/a.md: Forbidden"),
        ("('https://h/a.md?sig=abc', 403)", "('https://h/a.md', 403)"),
        ("sftp://user:pass@h/a, then https://k@h/b?c", "sftp://h/a, then https://h/b"),
        ("abfs://container@account/x?sig=abc", "abfs://container@account/x"),
        ("no file s3://bucket/docs/**/?.md", "no file s3://bucket/docs/**/?.md"),
        ("did it work? user@host says so", "did it work? user@host says so"),
    ],
)
def test_messages_show_urls_without_users_passwords_and_queries(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown
    assert str(RoostError(text)) == str(SourceError(text)) == shown
    error = DocumentError("unreadable", text)
    assert (error.detail, str(error)) == (shown, f"unreadable: {shown}")
