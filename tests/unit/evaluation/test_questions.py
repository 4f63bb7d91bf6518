"""Questions and judgments are read as they stand, and what a judgment names is told or counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import polars as pl
import pytest

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.questions import (
    JUDGMENT,
    MIN_SAMPLED,
    Questions,
    read_questions,
    resolve,
    sample_questions,
)
from roost.tasks.ids import digest
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.version import Version

LEDGER = pl.DataFrame(
    [
        ("aa" * 16, "handbook", "guides/ski.md"),
        ("bb" * 16, "handbook", "faq.csv#dogs"),
        ("cc" * 16, "other", "faq.csv#dogs"),
        ("dd" * 16, "corpus", "corpus.jsonl#4983"),
        ("ee" * 16, "other", "4983"),
    ],
    schema=["doc_id", "source", "uri"],
    orient="row",
)


def judged(*documents: str) -> pl.DataFrame:
    return pl.DataFrame([("q", name, 1, None, None) for name in documents], schema=JUDGMENT, orient="row")


def write(folder: Path, name: str, *lines: object) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


@pytest.mark.parametrize(
    ("name", "doc_id", "why"),
    [
        ("guides/ski.md", "aa" * 16, ""),
        ("./guides/ski.md", "aa" * 16, ""),
        ("handbook/faq.csv#dogs", "bb" * 16, ""),
        ("dd" * 16, "dd" * 16, ""),
        ("faq.csv#dogs", "", "names 2 documents; write source/path"),
        ("dogs", "", "names 2 documents; write source/path"),
        ("4983", "ee" * 16, ""),  # a path is more exact than the id of a row
        ("nowhere.md", "", "not in the index"),
        ("x' or 1 == 1", "", "not in the index"),
    ],
)
def test_a_judgment_names_a_document_by_id_path_or_row_and_says_why_when_it_does_not(name, doc_id, why):
    [row] = resolve(judged(name), LEDGER).to_dicts()
    assert (row["doc_id"], row["why"]) == (doc_id, why)


def test_every_judgment_is_resolved_once_and_in_order():
    names = ["nowhere.md", "guides/ski.md", "nowhere.md", "dogs"]
    assert resolve(judged(*names), LEDGER)["document"].to_list() == names


def test_the_beir_layout_is_read_with_the_split_that_is_asked_for(tmp_path):
    write(
        tmp_path,
        "queries.jsonl",
        {"_id": "1", "text": "Why?"},
        {"_id": "2", "text": "Who?"},
        {"_id": "3", "text": "?!"},
    )
    write(tmp_path, "qrels/test.tsv", "query-id\tcorpus-id\tscore", "1\ta b.md\t2", "1\tc.md\t0")
    write(tmp_path, "qrels/train.tsv", "2 0 x".replace(" ", "\t") + "\t1")
    test, train = read_questions(tmp_path), read_questions(tmp_path / "queries.jsonl", "train")
    assert test.asked.rows() == [("1", "Why?")]
    assert test.judgments.rows() == [("1", "a b.md", 2, None, None), ("1", "c.md", 0, None, None)]
    assert (train.asked.rows(), train.judgments.rows()) == ([("2", "Who?")], [("2", "x", 1, None, None)])
    with pytest.raises(UsageError, match="unknown split 'dev'; known: test, train"):
        read_questions(tmp_path, "dev")


def test_one_file_of_lines_holds_names_grades_and_spans(tmp_path):
    file = write(
        tmp_path, "q.jsonl",
        {"query": "Why?", "relevant": ["a.md", {"document": "b.md", "grade": 3}]},
        {"_id": "x", "text": "Where?", "doc": "c.md", "spans": [{"start": 3, "end": 9, "text": "abcdef"}]},
        {"query": "Nobody knows"},
    )  # fmt: skip
    read = read_questions(file)
    assert read.asked["question"].to_list() == ["1", "x", "3"]
    assert read.judgments.rows() == [
        ("1", "a.md", 1, None, None), ("1", "b.md", 3, None, None), ("x", "c.md", 1, 3, 9),
    ]  # fmt: skip
    assert read.judged == ["1", "x"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "the file contains no questions"),
        (["{"], "not JSON"),
        ([{"relevant": ["a"]}], "row 1: no question"),
        ([{"query": "?", "relevant": [{"grade": 1}]}], "row 1: `relevant` or `spans` cannot be read"),
        ([{"query": "?", "doc": "a", "spans": [{"start": 5, "end": 5}]}], "span 5 to 5"),
        ([{"id": 1, "query": "a"}, {"id": 1, "query": "b"}], "two questions have the id '1'"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_file_and_row(tmp_path, lines, says):
    file = write(tmp_path, "q.jsonl", *lines)
    with pytest.raises(UsageError) as caught:
        read_questions(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_grade_that_is_no_number_is_named_with_its_line(tmp_path):
    write(tmp_path, "queries.jsonl", {"_id": "1", "text": "Why?"})
    write(tmp_path, "qrels/test.tsv", "1\ta\t1", "1\tb\thigh")
    with pytest.raises(UsageError, match=r"test.tsv, line 2: grade 'high'"):
        read_questions(tmp_path)


def test_only_equal_questions_and_judgments_have_one_fingerprint():
    asked = pl.DataFrame([("1", "Why?"), ("2", "Who?")], schema=["question", "text"], orient="row")
    one = Questions("here", asked, judged("a", "b"))
    other_way_round = Questions("there", asked.reverse(), judged("b", "a"))
    assert one.fingerprint == other_way_round.fingerprint
    assert one.fingerprint != Questions("here", asked, judged("a")).fingerprint
    assert one.fingerprint != Questions("here", asked.head(1), judged("a", "b")).fingerprint


class Chunks:
    """Stands for a store with the chunks of some documents: texts by document, one for each chunk."""

    def __init__(self, texts):
        self.rows = [
            {"id": f"{doc}-{n:06d}", "doc_id": doc, "text": text, "chunk_hash": digest(text.encode(), 4)}
            for doc, parts in texts.items()
            for n, text in enumerate(parts)
        ]

    async def fetch(self, _collection, _key, ids, _fields):
        return [row for row in self.rows if row["id"] in ids]

    async def read_pages(self, _collection, _fields, filter):
        yield [row for row in self.rows if row["chunk_hash"] in filter]


def sampled(texts, count):
    rows = [{"doc_id": doc, "chunk_count": len(parts)} for doc, parts in texts.items()]
    version = Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 2, "c", 240, 24, "", ""), "2026-11-21", "COSINE")
    return asyncio.run(sample_questions(Chunks(texts), version, count, pl.DataFrame(rows)))


def document(number, sentences, chunks=1):
    """(doc_id, texts of its chunks) with so many sentences in each."""
    parts = [
        " ".join(f"Ship {number} sails by sentence {c} {n} today." for n in range(sentences)) for c in range(chunks)
    ]
    return digest(str(number).encode(), 16), parts


def test_few_documents_give_several_sentences_each_until_there_are_fifty():
    questions = sampled(dict([document(1, 40), document(2, 5, chunks=8)]), 200)
    assert questions.asked.height == MIN_SAMPLED
    assert questions.asked["text"].n_unique() == questions.asked["question"].n_unique() == MIN_SAMPLED
    assert sorted(questions.judgments["document"].value_counts()["count"]) == [25, 25]
    assert questions.judged == questions.asked["question"].to_list()


def test_no_sentence_is_asked_twice_where_there_are_too_few():
    assert sampled(dict([document(1, 3), document(2, 1)]), 200).asked.height == 4
    assert sampled(dict([document(1, 40)]), 7).asked.height == 7


def test_many_documents_give_one_sentence_each():
    texts = dict(document(number, 3, chunks=2) for number in range(60))
    assert sampled(texts, 200).asked.height == 60
    assert sampled(texts, 20).asked.height == 20
