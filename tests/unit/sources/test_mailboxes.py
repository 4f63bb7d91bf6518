"""Mails and mailboxes: their attachments are documents of their own, with a name that stays."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from tests.made_files import make_mail, make_mbox
from tests.made_pdfs import two_columns
from tests.stand_ins import listing_choices

from roost.tasks.errors import DocumentError
from roost.tasks.ids import content_hash
from roost.tasks.sources.mailboxes import list_contents
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers.mail import read_message
from roost.tasks.sources.source import Columns, Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.tasks.sources.table_uris import file_of

PDF = two_columns("left words", "right words")


def listed(place: Path, spool: Path) -> SourceListing:
    spool.mkdir(exist_ok=True)
    return list_source(open_sources([Source(uri=str(place), name="post")], listing_choices())[0], spool)


def test_the_attachments_of_a_mail_are_documents_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "post"
    folder.mkdir()
    mail = make_mail(**{"plan.pdf": PDF, "photo.png": b"\x89PNG", "empty.txt": b""})
    (folder / "a.eml").write_bytes(mail)
    (folder / "b.txt").write_text("b")
    documents = listed(folder, tmp_path / "spool").documents.sort("uri")
    assert documents["uri"].to_list() == ["a.eml", "a.eml#plan.pdf", "b.txt"]
    row = documents.filter(pl.col("uri") == "a.eml#plan.pdf").to_dicts()[0]
    assert Path(row["location"]).read_bytes() == PDF
    assert row["content_hash"] == content_hash(PDF)
    assert row["modified"] == documents["modified"][0] != ""
    alone = listed(folder / "a.eml", tmp_path / "other").documents
    assert sorted(alone["uri"]) == ["a.eml", "a.eml#plan.pdf"]


def test_the_mails_of_a_mailbox_are_named_by_their_message_ids(tmp_path: Path) -> None:
    other = b"Subject: No id\n\n>From the sea, with\nFrom inside a line\n"
    (tmp_path / "box.mbox").write_bytes(make_mbox(make_mail(**{"n.txt": b"n"}), other, make_mail()))
    documents = listed(tmp_path / "box.mbox", tmp_path / "spool").documents
    names = [uri.removeprefix("box.mbox#") for uri in documents["uri"]]
    assert names[:2] == ["berth-1@example.org.eml", "berth-1@example.org.eml#n.txt"]
    assert names[-1] == "berth-1@example.org-2.eml"
    assert Path(documents["location"][2]).read_bytes().startswith(b"Subject: No id\n\nFrom the sea")
    assert documents["doc_id"].n_unique() == documents.height


def test_mails_in_mails_are_opened_to_a_depth_and_refused_by_name_beyond_it(tmp_path: Path) -> None:
    mail = make_mail(**{"deep.txt": b"deep"})
    for _ in range(9):
        outer = read_message(make_mail())
        outer.add_attachment(read_message(mail))
        mail = outer.as_bytes()
    (tmp_path / "a.eml").write_bytes(mail)
    documents = listed(tmp_path / "a.eml", tmp_path / "spool").documents
    refused = documents.filter(pl.col("reason") != "")
    assert documents.height == 7
    assert refused["reason"].to_list() == ["too_large: attachments are read at most 5 mails deep and 1000 in one mail"]
    assert refused["uri"][0].count("#") == 6


def test_what_is_no_mailbox_is_one_refused_document_and_its_mails_are_not_missing(tmp_path: Path) -> None:
    folder = tmp_path / "post"
    folder.mkdir()
    (folder / "box.mbox").write_text("no mails in here")
    listing = listed(folder, tmp_path / "spool")
    assert listing.documents["reason"].to_list() == ["damaged: not a readable mailbox: no line begins with From"]
    assert listing.unlisted == ["box.mbox#"]


def test_the_file_of_an_attachment_is_its_mail() -> None:
    assert file_of("in/a.EML#b.pdf", "pdf") == "in/a.EML"
    assert file_of("box.mbox#x.eml#b.csv#c", "") == "box.mbox"
    assert file_of("a.eml", "mail") == "a.eml"
    assert Source(uri="post/*.eml").covers("a.eml#b.pdf", "pdf")


def test_a_mailbox_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert 0 < (size or 0) <= 1 << 20  # so many bytes are allocated, however small the file is
            return super().read(size)

    monkeypatch.setattr("roost.tasks.sources.mailboxes.open_location", lambda _: Stream(make_mbox(make_mail())))
    found = list_contents("box.mbox", "post", "box.mbox", Columns(), tmp_path)
    assert found.documents["uri"].to_list() == ["box.mbox#berth-1@example.org.eml"]


def test_a_mailbox_larger_than_its_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "box.mbox"
    file.write_bytes(make_mbox(make_mail(**{"a.bin": b"x" * 2_000_000})))
    with pytest.raises(DocumentError, match="too_large: it has more than 1 MiB"):
        list_contents(str(file), "post", "box.mbox", Columns(), tmp_path, 1)
