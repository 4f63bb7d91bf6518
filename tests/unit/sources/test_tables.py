"""Tables: which columns hold what, how rows are named, and that a bad row refuses itself alone."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import random
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.records import DOCUMENT
from roost.tasks.sources import tables
from roost.tasks.sources.source import Columns
from roost.tasks.sources.tables import clear_spool, find_columns, is_table, list_rows, read_rows

Rows = list[dict[str, Any]]


class Listed:
    """A listed table, with what was laid down of each row."""

    def __init__(self, file: Path, spool: Path, columns: Columns) -> None:
        self.documents, self.complete = list_rows(str(file), "src", file.name, columns, spool)
        assert self.documents.schema == DOCUMENT
        self.names = [uri.removeprefix(f"{file.name}#") for uri in self.documents["uri"]]
        self.reasons = [reason.partition(":")[0] for reason in self.documents["reason"]]
        laid = read_rows(self.documents)
        self.by_id = {row.pop("doc_id"): row for row in laid.to_dicts()}
        self.rows = [self.by_id[key] for key in self.documents["doc_id"]]
        self.texts = [row["text"] for row in self.rows]

    def ids(self) -> dict[str, str]:
        """Text to document id."""
        return dict(zip(self.texts, self.documents["doc_id"], strict=True))


Lister = Callable[..., Listed]


@pytest.fixture
def listed(tmp_path: Path) -> Lister:
    """Write a table and list it: `listed("a.csv", b"id,text")`."""
    runs = iter(range(10_000))

    def run(name: str, data: bytes, columns: Columns = Columns()) -> Listed:  # noqa: B008  it is frozen
        folder = tmp_path / f"run-{next(runs)}"
        (folder / "spool").mkdir(parents=True)
        (folder / name).write_bytes(data)
        return Listed(folder / name, folder / "spool", columns)

    return run


def jsonl(*rows: dict[str, Any]) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in rows)


def parquet(tmp_path: Path, **columns: list[Any]) -> bytes:
    file = tmp_path / "made.parquet"
    pl.DataFrame(columns).write_parquet(file)
    return file.read_bytes()


# kinds of tables


def test_the_same_rows_are_the_same_documents_in_every_kind_of_table(listed: Lister, tmp_path: Path) -> None:
    csv = 'id,title,text,place\n1,One,"first, with a comma",Oslo\n2,Two,second,Rome\n'
    rows = [
        {"id": "1", "title": "One", "text": "first, with a comma", "place": "Oslo"},
        {"id": "2", "title": "Two", "text": "second", "place": "Rome"},
    ]
    tables = {
        "a.csv": csv.encode(),
        "b.csv": csv.replace('"first, with a comma"', '"first, with a comma"').replace("\n", "\r\n").encode(),
        "c.csv": codecs.BOM_UTF8 + csv.encode(),
        "d.CSV": csv.encode("utf-16"),
        "e.tsv": b"id\ttitle\ttext\tplace\n1\tOne\tfirst, with a comma\tOslo\n2\tTwo\tsecond\tRome\n",
        "f.csv": b"id;title;text;place\n1;One;first, with a comma;Oslo\n2;Two;second;Rome\n",
        "g.jsonl": jsonl(*rows),
        "h.ndjson": codecs.BOM_UTF8 + jsonl(*rows) + b"\n\n",
        "i.parquet": parquet(tmp_path, **{name: [row[name] for row in rows] for name in rows[0]}),
        "j.csv.gz": gzip.compress(csv.encode(), mtime=0),
        "k.jsonl.bz2": bz2.compress(jsonl(*rows)),
        "l.csv.xz": lzma.compress(csv.encode()),
    }
    for name, data in tables.items():
        found = listed(name, data)
        assert found.names == ["1", "2"], name
        assert found.texts == ["first, with a comma", "second"], name
        assert [row["title"] for row in found.rows] == ["One", "Two"], name
        assert [json.loads(row["metadata"]) for row in found.rows] == [{"place": "Oslo"}, {"place": "Rome"}], name
        assert found.reasons == ["", ""], name
        assert found.complete, name


@pytest.mark.parametrize("name", ["a.csv", "a.TSV", "a.jsonl", "a.ndjson", "a.parquet", "a.csv.gz", "a.jsonl.bz2"])
def test_a_table_is_told_by_its_suffix(name: str) -> None:
    assert is_table(name)


@pytest.mark.parametrize("name", ["a.json", "a.gz", "csv", "a.csv.txt", "a.tar.gz", "a.md"])
def test_other_files_are_no_tables(name: str) -> None:
    assert not is_table(name)


def test_a_tab_separates_a_tsv_even_when_its_header_is_full_of_commas(listed: Lister) -> None:
    found = listed("a.tsv", b"id\ttext, long, or short\n1\thello, you, there\n", Columns(text="text, long, or short"))
    assert found.texts == ["hello, you, there"]


def test_a_cell_of_many_lines_is_one_row(listed: Lister) -> None:
    found = listed("a.csv", b'id,text\n1,"one\ntwo, ""quoted""\n\nfour"\n2,next\n')
    assert found.texts == ['one\ntwo, "quoted"\n\nfour', "next"]


def test_nul_characters_leave_a_table_and_the_rest_stays(listed: Lister) -> None:
    assert listed("a.csv", b"id,text\n1,a\0b\n").texts == ["ab"]
    assert listed("a.jsonl", b'{"id":"1","text":"a\\u0000b"}').texts == ["ab"]


def test_a_table_in_an_old_encoding_is_read(listed: Lister) -> None:
    words = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5
    found = listed("a.csv", f'id,text\n1,"{words}"\n'.encode("cp1251"))
    assert found.texts == [words]


def test_one_bad_byte_does_not_turn_a_utf_8_table_into_another_encoding(listed: Lister) -> None:
    rows = b"".join(f"{n},Où êtes-vous né à l'été {n}\n".encode() for n in range(100))
    found = listed("a.csv", b"id,text\n" + rows + b"100,bad \xff byte\n")
    assert found.texts[0] == "Où êtes-vous né à l'été 0"
    assert found.texts[100] == "bad \ufffd byte"


def test_lists_and_objects_in_a_row_are_kept_as_json(listed: Lister) -> None:
    found = listed("a.jsonl", jsonl({"id": 1, "text": ["a", "b"], "tags": ["x"], "nested": {"k": [1, None]}}))
    assert found.texts == ['["a", "b"]']
    assert json.loads(found.rows[0]["metadata"]) == {"tags": ["x"], "nested": {"k": [1, None]}}


def test_numbers_that_json_does_not_have_do_not_cost_a_row_its_metadata(listed: Lister, tmp_path: Path) -> None:
    data = parquet(tmp_path, id=["1", "2"], text=["a", "b"], score=[float("nan"), float("inf")], place=["x", "y"])
    for row in listed("a.parquet", data).rows:
        assert orjson.loads(row["metadata"])["place"] in ("x", "y")


# which column is what


def test_columns_are_found_by_name_whatever_their_case_and_order() -> None:
    found = find_columns([{"Notes": "n", "Body": "b", "Headline": "h", "UUID": "u", "": "unnamed"}], Columns(), "t")
    assert found == Columns(id="UUID", title="Headline", text="Body", metadata=["Notes"])


def test_without_a_known_name_the_longest_text_is_the_text() -> None:
    rows = [{"code": "X" * 90, "kind": "short one", "words": "here are quite a few words in a row " * 3}] * 3
    assert find_columns(rows, Columns(), "t").text == "words"


def test_columns_that_were_asked_for_win_over_those_found() -> None:
    rows = [{"id": "1", "text": "t", "body": "b", "title": "x", "note": "n"}]
    asked = Columns(id="note", title="text", text="body", metadata=["id"])
    assert find_columns(rows, asked, "t") == asked


def test_metadata_can_be_asked_to_be_none_at_all() -> None:
    assert find_columns([{"id": "1", "text": "t", "note": "n"}], Columns(metadata=[]), "t").metadata == []


@pytest.mark.parametrize("part", ["id", "title", "text"])
def test_a_wrong_column_is_named_in_one_line_with_those_that_are_there(listed: Lister, part: str) -> None:
    with pytest.raises(SourceError) as caught:
        listed("a.csv", b"key,body\n1,hello\n", Columns(**{part: "bodi"}))
    assert str(caught.value) == "a.csv: unknown column 'bodi'; did you mean 'body'? Known: body, key"


def test_a_wrong_metadata_column_is_named_too(listed: Lister) -> None:
    with pytest.raises(SourceError, match="'nope'"):
        listed("a.csv", b"id,text\n1,hello\n", Columns(metadata=["nope"]))


def test_a_table_of_numbers_is_refused_with_its_columns(listed: Lister) -> None:
    with pytest.raises(DocumentError, match=r"no_text: .*--text-column \(a, b\)"):
        listed("a.csv", b"a,b\n1,2\n")


# bad rows


def test_a_row_of_another_width_refuses_itself_alone(listed: Lister) -> None:
    found = listed("a.csv", b"id,text\n1,fine\n2,one,too many\n3\n4,fine again\n")
    assert found.names == ["1", "2", "3", "4"]
    assert found.reasons == ["", "bad_row", "bad_row", ""]
    assert "line 3" in found.documents["reason"][1]
    assert found.texts == ["fine", "", "", "fine again"]
    assert found.complete, "each row could be told by its id"


def test_a_broken_json_line_refuses_itself_alone_and_forbids_deletions(listed: Lister) -> None:
    found = listed("a.jsonl", b'{"id": 1, "text": "a"}\n{"id": 2, "te\n\n[1]\n"word"\n{"id": 3, "text": "c"}\n')
    assert found.reasons == ["", "bad_row", "bad_row", "bad_row", ""]
    assert "line 2" in found.documents["reason"][1]
    assert not found.complete, "which document the broken line was cannot be told"


def test_a_column_without_a_name_does_not_make_its_rows_broken(listed: Lister) -> None:
    found = listed("a.jsonl", jsonl({"id": 1, "text": "a", "": "x"}, {"id": 2, "text": "b", "": 7}))
    assert (found.reasons, found.texts, found.complete) == (["", ""], ["a", "b"], True)


def test_the_second_row_of_an_id_is_refused_and_the_first_kept(listed: Lister) -> None:
    found = listed("a.csv", b"id,text\na,one\nb,two\na,three\n")
    assert found.reasons == ["", "", "bad_row"]
    assert "'a' appears again" in found.documents["reason"][2]
    assert found.documents["doc_id"].n_unique() == 3


def test_no_choice_of_ids_gives_two_rows_one_name(listed: Lister) -> None:
    keys = ["a", "a", "line-2", "line-2", "line-4", "a-2", "", "", "a"]
    found = listed("a.jsonl", jsonl(*({"id": key, "text": "same words"} for key in keys)))
    assert found.documents["doc_id"].n_unique() == len(keys)
    digest = found.names[6]
    again = listed("a.jsonl", jsonl(*({"id": key, "text": "same words"} for key in [f"{digest}-2", "", "", digest])))
    assert again.documents["doc_id"].n_unique() == 4


def test_a_row_without_text_is_refused_as_empty(listed: Lister) -> None:
    found = listed("a.jsonl", jsonl({"id": 1, "text": ""}, {"id": 2, "text": " \n"}, {"id": 3}, {"id": 4, "text": "x"}))
    assert found.reasons == ["empty", "empty", "empty", ""]
    assert found.complete


def test_a_quote_that_never_closes_does_not_swallow_the_rows_below_it(listed: Lister) -> None:
    with pytest.raises(DocumentError, match=r"damaged: .*line 3"):
        listed("a.csv", b'id,text\n1,"fine"\n2,"open\n3,b\n4,c\n')


def test_stray_quotes_inside_a_row_are_taken_as_they_are(listed: Lister) -> None:
    assert listed("a.csv", b'id,text\n1,a 5" pipe\n2,b\n3,an 8" pipe').texts == ['a 5" pipe', "b", 'an 8" pipe']


def test_two_columns_of_one_name_both_survive(listed: Lister) -> None:
    found = listed("a.csv", b"id,text,note,note\n1,words,first,second\n")
    assert sorted(json.loads(found.rows[0]["metadata"]).values()) == ["first", "second"]


def test_blank_lines_above_the_header_are_passed_over(listed: Lister) -> None:
    assert listed("a.csv", b"\n\nid,text\n1,hello\n").texts == ["hello"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"id,text\n", "empty"),
        ("a.jsonl", b"\n \n", "empty"),
        ("a.parquet", b"", "damaged"),
        ("a.parquet", b"PAR1 and then nothing like it PAR1", "damaged"),
        ("a.csv.gz", b"no gzip at all", "unreadable"),
        ("a.csv.gz", gzip.compress(b"id,text\n" + b"1,a\n" * 999, mtime=0)[:-20], "unreadable"),
        ("a.csv.bz2", b"garbage", "unreadable"),
        ("a.csv.xz", b"garbage", "unreadable"),
        ("a.csv.zst", b"garbage", "unreadable"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_a_reason(
    listed: Lister, name: str, data: bytes, reason: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        listed(name, data)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_a_compressed_table_with_a_flipped_byte_is_refused_with_a_reason(listed: Lister) -> None:
    rng = random.Random(3)
    whole = gzip.compress(b"id,text\n" + rng.randbytes(9000).hex().encode())
    for place in range(200, len(whole), 501):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF] * 8) + whole[place + 8 :]
        with pytest.raises(DocumentError):
            listed("a.csv.gz", damaged)


def test_a_row_of_parquet_that_is_cut_off_is_refused_with_a_reason(listed: Lister, tmp_path: Path) -> None:
    whole = parquet(tmp_path, id=[str(n) for n in range(500)], text=[f"text {n}" for n in range(500)])
    with pytest.raises(DocumentError):
        listed("a.parquet", whole[: len(whole) // 2])


# names of rows


def test_rows_without_an_id_keep_their_names_when_others_are_put_before_them(listed: Lister) -> None:
    rows = [{"text": f"text {n}", "place": n} for n in range(5)]
    before = listed("a.jsonl", jsonl(*rows)).ids()
    after = listed("a.jsonl", jsonl({"text": "new"}, *rows[:3], {"text": "newer"}, *rows[3:])).ids()
    assert {text: after[text] for text in before} == before
    assert len(set(after.values())) == 7


def test_equal_rows_without_an_id_are_numbered(listed: Lister) -> None:
    found = listed("a.jsonl", jsonl(*[{"text": "same"}] * 3, {"text": "other"}))
    first, second, third, other = found.names
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert other != first
    assert found.documents["doc_id"].n_unique() == 4


def test_rows_without_an_id_in_a_table_that_has_the_column_are_named_by_content(listed: Lister) -> None:
    before = listed("a.jsonl", jsonl({"id": "k", "text": "x"}, {"id": None, "text": "y"})).ids()
    after = listed("a.jsonl", jsonl({"id": " ", "text": "y"}, {"id": "k", "text": "z"})).ids()
    assert before["y"] == after["y"]


def test_a_row_with_an_id_keeps_its_name_when_its_text_changes(listed: Lister) -> None:
    before = listed("a.csv", b"id,text\n1,old\n")
    after = listed("a.csv", b"id,text\n1,new\n")
    assert before.documents["doc_id"].to_list() == after.documents["doc_id"].to_list()
    assert before.documents["content_hash"].to_list() != after.documents["content_hash"].to_list()


@pytest.mark.parametrize("column", ["title", "place"])
def test_a_change_of_title_or_metadata_is_a_change_of_content(listed: Lister, column: str) -> None:
    row = {"id": "1", "title": "T", "text": "x", "place": "p"}
    before, after = (listed("a.jsonl", jsonl(changed)) for changed in (row, {**row, column: "else"}))
    assert before.documents["content_hash"].to_list() != after.documents["content_hash"].to_list()


def test_ids_are_names_whatever_their_type(listed: Lister) -> None:
    found = listed("a.jsonl", jsonl(*({"id": key, "text": "x"} for key in (7, "8", 1.5, True, "näme /#'\""))))
    assert found.names == ["7", "8", "1.5", "true", "näme /#'\""]
    assert all(set(key) <= set("0123456789abcdef") for key in found.documents["doc_id"])


# parts


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 7])
def test_rows_come_back_as_they_were_across_the_borders_of_parts(
    listed: Lister, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 3)
    found = listed("a.jsonl", jsonl(*({"id": n, "text": f"text {n}"} for n in range(rows))))
    assert found.texts == [f"text {n}" for n in range(rows)]
    assert found.documents["spool"].n_unique() == -(-rows // 3)
    assert found.documents["row"].to_list() == [n % 3 for n in range(rows)]


def test_an_id_that_appears_again_in_another_part_is_noticed(listed: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 2)
    found = listed("a.csv", b"id,text\na,1\nb,2\nc,3\na,4\n")
    assert found.reasons == ["", "", "", "bad_row"]


def test_any_choice_of_rows_comes_back_in_any_order(listed: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 4)
    found = listed("a.jsonl", jsonl(*({"id": n, "text": f"text {n}", "n": n} for n in range(11))))
    chosen = found.documents.sample(fraction=1.0, shuffle=True, seed=5).head(6)
    back = {row["doc_id"]: row["text"] for row in read_rows(chosen).to_dicts()}
    assert back == {key: found.by_id[key]["text"] for key in chosen["doc_id"]}


def test_no_rows_asked_for_are_no_rows(listed: Lister) -> None:
    found = listed("a.csv", b"id,text\n1,x\n")
    assert read_rows(found.documents.clear()).is_empty()


def test_two_tables_of_one_name_do_not_overwrite_each_other_in_the_spool(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    texts = {}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "a.csv.gz"
        file.write_bytes(gzip.compress(f"id,text\n1,from {folder}\n".encode(), mtime=0))
        texts[folder] = list_rows(str(file), folder, "a.csv.gz", Columns(), spool)[0]
    assert {name: read_rows(rows)["text"].to_list() for name, rows in texts.items()} == {
        "one": ["from one"],
        "two": ["from two"],
    }


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@given(rows=st.lists(st.fixed_dictionaries({"text": WORDS, "title": WORDS, "place": WORDS}), min_size=1, max_size=8))
def test_what_is_laid_down_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("table")
    file = folder / "a.jsonl"
    file.write_bytes(jsonl(*rows))
    documents, _ = list_rows(str(file), "s", "a.jsonl", Columns(), folder)
    back = read_rows(documents)
    assert back["doc_id"].to_list() == documents["doc_id"].to_list()
    assert documents["doc_id"].n_unique() == len(rows)
    found = [
        {"text": r["text"], "title": r["title"], "place": json.loads(r["metadata"]).get("place")}
        for r in back.to_dicts()
    ]
    assert found == rows


# limits


def test_a_table_that_unfolds_without_end_is_refused_by_name_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(bytes(3 * 2**20), mtime=0))
    spool = tmp_path / "spool"
    spool.mkdir()
    with pytest.raises(DocumentError, match=r"more than 2 MiB when uncompressed; ROOST_INGEST__TABLE_MB") as caught:
        list_rows(str(file), "s", file.name, Columns(), spool, 2)
    assert caught.value.reason == "too_large"
    clear_spool(str(file), spool)
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_that_does_not_end_is_refused_before_it_is_in_memory(
    listed: Lister, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("roost.tasks.sources.table_readers.MAX_LINE_LENGTH", 2**20)
    with pytest.raises(DocumentError, match="line 3 is longer than 1 MiB") as caught:
        listed(name, b'{"id": 1, "text": "x"}\n\n' + b"x" * (2**20 + 1) + b"\n")
    assert caught.value.reason == "too_large"


def test_a_cell_that_does_not_end_is_refused(listed: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.sources.table_readers.MAX_LINE_LENGTH", 1000)
    with pytest.raises(DocumentError, match="too_large: the row of line 2 is longer than"):
        listed("a.csv", b'id,text\n1,"' + b"many lines\n" * 1000 + b'"\n')


def test_a_part_of_the_spool_holds_as_many_rows_as_have_a_bounded_size(
    listed: Lister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PART_CHARACTERS", 1000)
    found = listed("a.jsonl", jsonl(*({"id": n, "text": f"{n} " * 200} for n in range(7))))
    assert found.documents["spool"].n_unique() == 3
    assert found.texts == [f"{n} " * 200 for n in range(7)]


def test_large_rows_of_parquet_are_read_few_at_a_time(
    listed: Lister, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("roost.tasks.sources.table_readers._PARQUET_SAMPLE_ROWS", 2)
    monkeypatch.setattr("roost.tasks.sources.table_readers._PARQUET_BYTES", 5000)
    texts = [f"{n} " * 500 for n in range(9)]
    assert listed("a.parquet", parquet(tmp_path, id=[str(n) for n in range(9)], text=texts)).texts == texts


def test_a_disk_that_is_full_refuses_the_table_and_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(jsonl(*({"id": n, "text": random.Random(n).randbytes(500).hex()} for n in range(200))))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    spool = tmp_path / "spool"
    spool.mkdir()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    for table in (file, tmp_path / "a.jsonl.gz"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, usual[1]))
        try:
            with pytest.raises(DocumentError) as caught:
                list_rows(str(table), "s", table.name, Columns(), spool)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert caught.value.reason == "unreadable"
        assert re.fullmatch(
            f"its rows cannot be written to {spool}: .*; make space there, or set ROOST_SCALE__SPOOL to another folder",
            caught.value.detail,
        )


def test_a_copy_of_a_compressed_table_does_not_stay_beside_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"id,text\n1,x\n", mtime=0))
    spool = tmp_path / "spool"
    spool.mkdir()
    list_rows(str(file), "s", file.name, Columns(), spool)
    assert [left.suffix for left in spool.iterdir()] == [".parquet"]


# many equal rows, empty ones


def test_the_time_for_equal_rows_without_an_id_grows_with_their_number_only() -> None:
    looks = 0

    class Names(dict[str, int]):
        def __contains__(self, name: object) -> bool:
            nonlocal looks
            looks += 1
            return super().__contains__(name)

    names = Names()
    taken = [tables._take_name("same", names) for _ in range(2_000)]
    assert taken[:3] == ["same", "same-2", "same-3"]
    assert len(set(taken)) == 2_000
    assert looks <= 2 * 2_000


def test_rows_without_any_value_are_left_out(listed: Lister, tmp_path: Path) -> None:
    assert listed("a.csv", b"title,text,note\nx,y,z\n,,\n , ,\n,\n,,\n").texts == ["y"]
    assert listed("a.jsonl", jsonl({"text": "y"}, {}, {"text": " ", "note": None})).texts == ["y"]
    assert listed("a.parquet", parquet(tmp_path, id=["1", None, ""], text=["y", None, " "])).texts == ["y"]


# tables that are cut


BEFORE = "id,title,text\n" + "".join(f"{n},Title {n},This is the text of row {n}.\n" for n in range(80))


@pytest.mark.parametrize("cut", ["8", "80", "80,Ti", "80,Title 80,", "80,Title 80,This is the te"])
def test_a_csv_that_is_cut_in_a_row_is_incomplete_and_its_stump_is_not_indexed(listed: Lister, cut: str) -> None:
    found = listed("a.csv", (BEFORE + cut).encode())
    assert not found.complete
    assert found.reasons == [""] * 80 + ["bad_row"]


@pytest.mark.parametrize(
    "end", ["", "80,Title 80,A whole text.", "80,Title 80,A whole text.\n", '80,Title 80,"quoted"', "80,a,no stop\r\n"]
)
def test_a_csv_that_ends_between_rows_is_complete(listed: Lister, end: str) -> None:
    found = listed("a.csv", (BEFORE + end).encode())
    assert found.complete
    assert set(found.reasons) == {""}


def test_a_number_that_is_shorter_than_all_others_at_the_end_looks_cut(listed: Lister) -> None:
    rows = "id,text,year\n" + "".join(f"{n},some words,{2000 + n}\n" for n in range(9))
    assert not listed("a.csv", f"{rows}9,some words,20".encode()).complete
    assert listed("a.csv", f"{rows}9,some words,2009".encode()).complete
