"""Cutting: chunks fit their size, lose no text, are located correctly, and change only where the text does."""

from __future__ import annotations

import itertools
import time
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.checks import check_chunks
from tests.stand_ins import made_model

from roost.tasks.models.model import load_tokenizer
from roost.tasks.records import CHUNK, TEXT_BLOCK
from roost.tasks.steps.cut import MAX_CHUNK_CHARACTERS, cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.sections import MAX_HEADING_CHARACTERS, _heading_path

MODEL = made_model()
TOKENIZER = load_tokenizer(MODEL.tokenizer_file)
SIZES = st.sampled_from([(16, 0), (16, 4), (40, 8), (40, 39), (240, 24)])

Chunks = list[dict[str, Any]]


def blocks(*texts: str, markdown: bool = False) -> pl.DataFrame:
    """The pages of one document, as `load` lays them out."""
    rows, start = [], 0
    for page, text in enumerate(texts, start=1):
        kind = "markdown" if markdown else "text"
        rows.append({"doc_id": "d", "text": text, "page": page, "start": start, "kind": kind, "heading": ""})
        start += len(text) + 1
    return pl.DataFrame(rows, schema=TEXT_BLOCK)


def cut(blocks: pl.DataFrame, size: int = 40, overlap: int = 8) -> pl.DataFrame:
    return cut_blocks(blocks, CutSizes(size, overlap, str(MODEL.tokenizer_file)))


def cut_text(text: str, size: int = 40, overlap: int = 8, *, markdown: bool = False) -> Chunks:
    return cut(blocks(text, markdown=markdown), size, overlap).to_dicts()


def tokens(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)


#: A text takes a tenth of a second: a third of the usual number of examples.
FEWER = settings(max_examples=settings.default.max_examples // 3)

WORDS = [
    "a",
    "word",
    "the",
    "Sentence.",
    "x" * 130,
    "supercalifragilistic" * 9,
    "1234567890" * 20,
    "日本語のテキスト。",
    "漢字仮名交じり文",
    "안녕하세요",
    "👩\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈",
    "e\u0301",
    "Z\u0351",
    "ﬁ",
    "İ",
    "ß",
    "https://example.com/a?b=c&d=e",
    "QUJDREVGR0hJSktM" * 12,
    "\u200b",
    "\ufeff",
    "\u202e",
    "\u00ad",
    "snake_case_name",
    "C:\\path\\to",
    "...",
    "---",
    "。。。",
    "| a | b |",
    "`code`",
]
GAPS = [
    " ",
    " ",
    " ",
    "\n",
    "\n\n",
    "\n\n\n\n",
    "\t",
    "   ",
    " " * 50,
    "\u00a0",
    "\u3000",
    "\x0b",
    "\x1f",
    "\u2028",
    ". ",
]
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12)
WORD = st.sampled_from(WORDS) | LETTERS
RUN = st.builds(
    lambda pairs, times: "".join(word + gap for word, gap in pairs) * times,
    st.lists(st.tuples(WORD, st.sampled_from(GAPS)), min_size=1, max_size=8),
    st.integers(1, 40),
)
TEXT = st.lists(RUN, max_size=4).map("".join)

TABLE = st.builds(
    lambda cells, rows: "| a | b |\n|---|---|\n" + f"| {' | '.join(cells)} |\n" * rows,
    st.lists(WORD, min_size=1, max_size=3),
    st.integers(1, 40),
)
FENCE = st.builds(
    lambda mark, body: f"{mark}python\n{body}\n{mark}\n",
    st.sampled_from(["```", "~~~", "````", "  ```"]),
    TEXT | st.just("# no heading\nx = 1\n## nor this"),
)
NAMES = ["Title", "Title", "Other", "", "With <b>tags</b>", "A/B > C", "x" * 900]
HEADING = st.builds(
    lambda marks, gap, name, end: f"{marks}{gap}{name}{end}\n",
    st.sampled_from(["#", "##", "###", "######", "#########"]),
    st.sampled_from([" ", " ", "  ", "\t", "\u3000", ""]),
    st.sampled_from(NAMES) | WORD,
    st.sampled_from(["", " ##", "  "]),
)
BLOCK = st.one_of(HEADING, HEADING, TEXT, TABLE, FENCE, st.just("Setext\n======\n"), st.just("\n"))
MARKDOWN = st.lists(BLOCK, max_size=10).map("\n".join)
SECTION = st.lists(st.sampled_from(["Trains run.", "Ships sail!", "日本語。", "Why not?"]), min_size=1, max_size=40)


@FEWER
@given(text=TEXT, sizes=SIZES)
@example(text="same line here.\n" * 300, sizes=(40, 8))
@example(text="a " * 1000, sizes=(40, 39))
@example(text="漢字仮名交じり文" * 500, sizes=(40, 8))
@example(text="a" + " " * 40_000 + "b", sizes=(240, 24))
@example(text="x" * 50_000, sizes=(240, 24))
@example(text=" \n\t", sizes=(16, 0))
def test_whatever_the_text_each_chunk_fits_and_nothing_is_lost(text: str, sizes: tuple[int, int]) -> None:
    check_chunks(text, cut_text(text, *sizes), sizes[0], TOKENIZER)


@FEWER
@given(text=MARKDOWN, sizes=SIZES)
@example(text="## A\n# A\n# A\n## A\n", sizes=(40, 8))
@example(text="#\tTab\n\ntext\n\n##\u3000Wide\n\nmore\n", sizes=(40, 8))
@example(text="# A\n\n| 1 | 2 |\n" + "| 1 | 2 |\n" * 300, sizes=(40, 8))
@example(text="## Example\n\nsame\n\n" * 50, sizes=(16, 4))
def test_whatever_the_markdown_each_chunk_fits_and_nothing_is_lost(text: str, sizes: tuple[int, int]) -> None:
    check_chunks(text, cut_text(text, *sizes, markdown=True), sizes[0], TOKENIZER)


@FEWER
@given(text=MARKDOWN, sizes=SIZES, markdown=st.booleans())
def test_the_same_text_is_always_cut_the_same(text: str, sizes: tuple[int, int], markdown: bool) -> None:
    first = cut_text(text, *sizes, markdown=markdown)
    cut_text("something else in between", *sizes, markdown=markdown)
    assert cut_text(text, *sizes, markdown=markdown) == first


def test_neighbours_share_the_overlap_and_no_more() -> None:
    text = " ".join(f"Sentence number {n} speaks of trains." for n in range(60))
    chunks = cut_text(text, 60, 20)
    shared = [max(0, before["end"] - after["start"]) for before, after in itertools.pairwise(chunks)]
    assert all(shared)
    assert all(
        tokens(text[chunk["start"] : chunk["start"] + width]) <= 20
        for chunk, width in zip(chunks[1:], shared, strict=True)
    )


def test_without_overlap_neighbours_share_nothing() -> None:
    text = " ".join(f"Sentence number {n} speaks of trains." for n in range(60))
    chunks = cut_text(text, 60, 0)
    assert len(chunks) > 5
    assert all(before["end"] <= after["start"] for before, after in itertools.pairwise(chunks))


def test_a_short_text_is_one_chunk_as_it_is() -> None:
    (chunk,) = cut_text("  Just this.\n")
    assert (chunk["text"], chunk["start"], chunk["end"], chunk["ordinal"]) == ("Just this.", 2, 12, 0)


def test_a_text_without_letters_makes_no_chunk() -> None:
    assert cut_text(" \n \t\n") == []
    assert cut(blocks(), 40, 8).schema == CHUNK


def test_one_endless_word_is_cut_so_that_it_can_be_stored() -> None:
    text = "語" * 3 + "x" * 200_000
    chunks = cut_text(text, 240, 24)
    check_chunks(text, chunks, 240, TOKENIZER)
    assert all(len(chunk["text"]) <= MAX_CHUNK_CHARACTERS for chunk in chunks)


# documents and pages


def test_ordinals_go_on_over_the_pages_of_a_document_and_start_anew_in_the_next() -> None:
    long = "A sentence about trains. " * 30
    two = pl.concat([blocks(long, "", "Short."), blocks(long).with_columns(doc_id=pl.lit("e"))])
    chunks = cut(two, 40, 8)
    for _, document in chunks.group_by("doc_id"):
        assert document["ordinal"].to_list() == list(range(document.height))
    assert chunks.filter(pl.col("doc_id") == "d")["page"].to_list()[-1] == 3
    assert set(chunks.filter(pl.col("doc_id") == "e")["page"]) == {1}


def test_places_count_from_the_start_of_the_document_not_of_the_page() -> None:
    pages = ["First page.", "Second page.", "Third page."]
    document = "\n".join(pages)
    chunks = cut(blocks(*pages), 40, 8).to_dicts()
    assert [document[chunk["start"] : chunk["end"]] for chunk in chunks] == pages


def test_the_text_of_one_page_never_runs_into_the_next() -> None:
    chunks = cut(blocks("ends here", "begins here"), 240, 24)
    assert chunks["text"].to_list() == ["ends here", "begins here"]


# headings

GUIDE = """Before any heading.

# Guide

Welcome.

## Install

Run it.

### On <b>Linux</b>

Use make.

## Use

```sh
# no heading, a comment
roost demo
```

# Appendix

The end.
"""


def test_each_chunk_knows_the_headings_above_it() -> None:
    found = {chunk["text"].splitlines()[-1]: chunk["heading"] for chunk in cut_text(GUIDE, markdown=True)}
    assert found == {
        "Before any heading.": "",
        "Welcome.": "Guide",
        "Run it.": "Guide > Install",
        "Use make.": "Guide > Install > On Linux",
        "```": "Guide > Use",
        "The end.": "Appendix",
    }


def test_all_chunks_of_a_long_section_know_its_heading() -> None:
    chunks = cut_text("# Top\n\n## Long\n\n" + "A sentence about trains. " * 60, markdown=True)
    assert len(chunks) > 4
    assert {chunk["heading"] for chunk in chunks[1:]} == {"Top > Long"}


def test_a_heading_without_a_text_of_its_own_is_no_chunk_and_stays_in_one() -> None:
    text = "# Guide\n\n## Install\n\nRun it.\n\n## Use\n\n# Appendix\n\nThe end.\n\n## Index\n"
    chunks = cut_text(text, markdown=True)
    assert [(chunk["heading"], chunk["text"]) for chunk in chunks] == [
        ("Guide > Install", "# Guide\n\n## Install\n\nRun it."),
        ("Appendix", "## Use\n\n# Appendix\n\nThe end.\n\n## Index"),
    ]
    check_chunks(text, chunks, 40, TOKENIZER)


def test_a_document_of_headings_only_is_still_a_chunk() -> None:
    assert [chunk["text"] for chunk in cut_text("# A\n", markdown=True)] == ["# A"]
    assert [chunk["text"] for chunk in cut_text("# A\n\n## B\n", markdown=True)] == ["# A\n\n## B"]


def test_plain_text_has_no_headings() -> None:
    assert {chunk["heading"] for chunk in cut_text(GUIDE)} == {""}


def test_an_endless_heading_is_kept_short_and_its_text_whole() -> None:
    text = f"# {'many words ' * 300}\n\nBody."
    chunks = cut_text(text, markdown=True)
    check_chunks(text, chunks, 40, TOKENIZER)
    assert {len(chunk["heading"]) for chunk in chunks} == {MAX_HEADING_CHARACTERS}


def test_a_heading_of_signs_that_begin_a_tag_costs_no_more_than_its_length() -> None:
    started = time.process_time()
    assert _heading_path("", "# " + "<" * 300_000) == "<" * MAX_HEADING_CHARACTERS
    assert time.process_time() - started < 5  # minutes, where the cost is quadratic


@given(
    bodies=st.lists(SECTION.map(" ".join), min_size=2, max_size=5),
    changed=st.integers(0, 4),
    words=st.lists(st.sampled_from(["New", "words", "here."]), min_size=1, max_size=60).map(" ".join),
)
def test_an_edit_in_one_section_leaves_the_chunks_of_the_others_as_they_are(
    bodies: list[str], changed: int, words: str
) -> None:
    def by_heading(sections: list[str]) -> dict[str, list[str]]:
        text = "\n\n".join(f"# Part {n}\n\n{body}" for n, body in enumerate(sections))
        found: dict[str, list[str]] = {}
        for chunk in cut_text(text, markdown=True):
            found.setdefault(chunk["heading"], []).append(chunk["chunk_hash"])
        return found

    changed %= len(bodies)
    before = by_heading(bodies)
    after = by_heading([words if n == changed else body for n, body in enumerate(bodies)])
    kept = [f"Part {n}" for n in range(len(bodies)) if n != changed]
    assert [after[name] for name in kept] == [before[name] for name in kept]
