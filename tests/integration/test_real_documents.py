"""Parsers, table readers and the chunker on real documents: the shared test data."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.checks import check_chunks, outcome_of, reason_of, text_of

from roost.tasks.errors import DocumentError
from roost.tasks.models.model import find_model, load_tokenizer
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Embedding
from roost.tasks.sources.parsers.parse import parse
from roost.tasks.sources.parsers.pdf.table_page import read_table_page
from roost.tasks.sources.parsers.pdf.tables import find_tables
from roost.tasks.sources.source import Columns
from roost.tasks.sources.tables import find_columns, list_rows, read_rows
from roost.tasks.sources.text_encoding import clean
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes

# parsers


def test_a_large_report_takes_a_few_milliseconds_a_page_and_tables_a_little_more(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = (data / "tutorial" / "10k" / "uber_2021.pdf").read_bytes()
    seconds: list[float] = []

    def timed(*place: Any) -> Any:
        started = time.process_time()
        tables = find_tables(read_table_page(*place))
        seconds.append(time.process_time() - started)
        return tables

    monkeypatch.setattr("roost.tasks.sources.parsers.pdf.pdfium_pages.read_table_page", lambda *place: place)
    monkeypatch.setattr("roost.tasks.sources.parsers.pdf.pdfium_pages.find_tables", lambda place: timed(*place))
    started = time.process_time()
    parsed = parse(report, "a.pdf")
    text_seconds = time.process_time() - started - sum(seconds)
    assert parsed.metadata["pages"] == 307
    assert sum(len(block.text) for block in parsed.blocks) > 1_200_000
    assert text_seconds < 3  # 1.1 on an idle machine
    assert len(seconds) < 60, "nearly all pages that are looked at have a table"
    assert parsed.metadata["tables"] > 85
    assert sum(seconds) / len(seconds) < 0.15  # 0.02 on an idle machine


def test_every_messy_pdf_ends_as_its_category_says(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.sources.parsers.pdf.parser.has_ocr", lambda: False)
    outcome = {
        "text": "text",
        "almost_no_text": "text",
        "encrypted_empty_password": "text",
        "zero_text": "no_text",
        "needs_password": "encrypted",
        "malformed_or_unsupported": "damaged",
    }
    folder = data / "messy_pdf"
    with (folder / "categories.tsv").open() as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if (folder / row["file"]).is_file()]
    expected = {row["file"]: outcome[row["category"]] for row in rows}
    assert set(expected.values()) >= {"text", "no_text", "encrypted"}
    assert {name: outcome_of((folder / name).read_bytes(), name) for name in expected} == expected


def test_every_page_of_a_messy_pdf_is_there(data: Path) -> None:
    folder = data / "messy_pdf"
    with (folder / "categories.tsv").open() as stream:
        pages = {
            row["file"]: int(row["pages"])
            for row in csv.DictReader(stream, delimiter="\t")
            if row["category"] == "text" and int(row["pages"]) > 1 and (folder / row["file"]).is_file()
        }
    assert len(pages) >= 5
    found = {name: {block.page for block in parse((folder / name).read_bytes(), name).blocks} for name in pages}
    assert found == {name: set(range(1, count + 1)) for name, count in pages.items()}


def test_every_text_in_an_odd_encoding_is_read_as_expected(data: Path) -> None:
    folder = data / "encodings"
    with (folder / "expected.tsv").open() as stream:
        encodings = {row["file"]: row["encoding"] for row in csv.DictReader(stream, delimiter="\t")}
    assert len(encodings) >= 15
    raw = {name: (folder / "charset_normalizer" / name).read_bytes() for name in encodings}
    expected = {name: clean(raw[name].decode(encoding)).removeprefix("\ufeff") for name, encoding in encodings.items()}
    assert {name: text_of(parse(raw[name], name)) for name in encodings} == expected


@pytest.mark.parametrize("name", ["fake-text-utf-16-be.txt", "fake-text-utf-16-le.txt", "fake-text-utf-16.txt",
                                  "fake-text-utf-32.txt", "eml/fake-email-utf-16.eml"])  # fmt: skip
def test_wide_encodings_with_a_mark_are_read(data: Path, name: str) -> None:
    text = text_of(parse((data / "encodings" / "unstructured" / name).read_bytes(), name))
    assert "test" in text.lower()
    assert "\0" not in text
    assert "\ufffd" not in text
    assert "\ufeff" not in text


def test_the_real_empty_text_is_refused_as_empty(data: Path) -> None:
    assert reason_of((data / "encodings" / "unstructured" / "empty.txt").read_bytes(), "empty.txt") == "empty"


# tables


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("llama_index/commit_history.csv", Columns(id="commit", title="change summary", text="change details",
                                                   metadata=["author", "date"])),
        ("derived/scifact_corpus.parquet", Columns(id="doc_id", title="title", text="text", metadata=[])),
        ("llama_index/train.csv", Columns(text="Name", metadata=[
            "PassengerId", "Survived", "Pclass", "Sex", "Age", "SibSp", "Parch", "Ticket", "Fare", "Cabin",
            "Embarked"])),
    ],
)  # fmt: skip
def test_the_columns_of_real_tables_are_found(data: Path, file: str, columns: Columns) -> None:
    name = data / "tabular" / file
    read = pl.read_parquet if name.suffix == ".parquet" else pl.read_csv
    rows = read(name).head(500).to_dicts()
    assert find_columns(rows, Columns(), "t") == columns


@pytest.mark.parametrize(
    "file", ["dlt/csv/mlb_players.csv", "dlt/jsonl/mlb_players.jsonl", "dlt/parquet/mlb_players.parquet"]
)
def test_the_same_real_table_is_told_to_hold_no_text_in_all_its_kinds(data: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(DocumentError, match=r"no_text: .*\(Name, Team, Position"):
        list_rows(str(data / "tabular" / file), "s", file, Columns(), tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_same_real_table_makes_the_same_documents_in_all_its_kinds(data: Path, tmp_path: Path, kind: str) -> None:
    file = data / "tabular" / "dlt" / kind / f"mlb_players.{kind}"
    columns = Columns(text="Name", title="Position", metadata=["Team"])
    found, complete = list_rows(str(file), "s", "players", columns, tmp_path)
    assert complete
    assert found.height == 1034
    assert found["doc_id"].n_unique() == 1034
    first = read_rows(found.head(1)).to_dicts()[0]
    assert (first["text"], first["title"], json.loads(first["metadata"])) == (
        "Adam Donachie",
        "Catcher",
        {"Team": "BAL"},
    )


def test_the_real_corpus_is_read_without_losing_a_row(data: Path, tmp_path: Path) -> None:
    found, complete = list_rows(str(data / "scifact" / "corpus.jsonl"), "s", "corpus.jsonl", Columns(), tmp_path)
    assert (found.height, found["doc_id"].n_unique(), complete) == (5183, 5183, True)
    assert found.filter(pl.col("reason") != "").is_empty()


def test_the_real_gzipped_table_is_read(data: Path, tmp_path: Path) -> None:
    found, _ = list_rows(str(data / "tabular" / "dlt" / "gzip" / "taxi.csv.gz"), "s", "t", Columns(), tmp_path)
    assert found.height == 9


def test_a_real_table_whose_rows_all_miss_the_header_says_so(data: Path, tmp_path: Path) -> None:
    file = data / "tabular" / "dlt" / "csv" / "freshman_lbs.csv"  # its header holds unquoted commas
    with pytest.raises(DocumentError, match=r"not 7 fields as in the header, but 5 \(line 2\)"):
        list_rows(str(file), "s", "t", Columns(), tmp_path)


# chunks


def check_cut(text: str, *, markdown: bool) -> list[dict[str, Any]]:
    """Cut a text as runs do by default, with the default model's tokenizer, and check the chunks."""
    file = find_model(Embedding()).tokenizer_file
    kind = "markdown" if markdown else "text"
    row = {"doc_id": "d", "text": text, "page": 1, "start": 0, "kind": kind, "heading": ""}
    chunks = cut_blocks(pl.DataFrame([row], schema=TEXT_BLOCK), CutSizes(240, 24, str(file))).to_dicts()
    check_chunks(text, chunks, 240, load_tokenizer(file))
    return chunks


def test_a_real_essay_is_cut_without_losing_a_letter(data: Path) -> None:
    text = (data / "tutorial" / "paul_graham" / "paul_graham_essay.txt").read_text("utf-8")
    chunks = check_cut(text, markdown=False)
    assert len(chunks) > 60
    assert max(chunk["tokens"] for chunk in chunks) > 200, "chunks make use of the window"


@pytest.mark.parametrize("name", ["state_of_the_union.md", "wikitexts.md"])
def test_real_markdown_is_cut_without_losing_a_letter(data: Path, name: str) -> None:
    text = (data / "chunk_eval" / "corpora" / name).read_text("utf-8")[:60_000]
    check_cut(text, markdown=True)
