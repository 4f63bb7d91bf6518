"""Filters as people write them: what they mean, read back by Milvus Lite's own parser, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter.parser import parse_expr

from roost.tasks.errors import UsageError
from roost.tasks.search.filters import DEEPEST, LONGEST, Where, parse_where

FIELDS: dict[str, type[str] | type[int]] = {"source": str, "uri": str, "page": int, "ordinal": int}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ""),
        ("  \n", ""),
        ('source == "handbook" and page > 2', '(source == "handbook" and page > 2)'),
        ("source=='it\\'s' or page<=-1", '(source == "it\'s" or page <= -1)'),
        ("NOT (page in [1, 2,3]) && uri like 'staff/%'", '(not ((page in [1, 2, 3])) and uri like "staff/%")'),
        ("page not in [1] or ! source != \"a\"", '(page not in [1] or not (source != "a"))'),
        ('uri == "C:\\dir\\new\\\\x"', '(C:\\dir, newline, one backslash)'),
        ("page > 2.5", "page > 2.5"),
    ],
)  # fmt: skip
def test_a_filter_is_written_anew(written: str, meant: str) -> None:
    if meant.startswith("(C:"):
        meant = 'uri == "C:\\\\dir\\new\\\\x"'
    where = parse_where(written, FIELDS)
    assert where == Where(meant)
    if meant:
        parse_expr(where.text)


def test_names_outside_the_schema_are_the_documents_own() -> None:
    where = parse_where('owner == "Ilse" and reviewed >= "2024" and draft == false and year in [1999]', FIELDS)
    assert where.names == {"owner", "reviewed", "draft", "year"}
    assert where.text == '(owner == "Ilse" and reviewed >= "2024" and draft == false and year in [1999])'


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("page", "after 'page' comes one of =="),
        ("page = 2", "written =="),
        ('page == "2"', 'page holds numbers, not "2"'),
        ("page == true", "page holds numbers, not true"),
        ("source == 2", "source holds texts, not 2"),
        ("page in []", "an empty list"),
        ("page in [1", "at its end: here a ] is needed"),
        ("page > 1 source", "at 'source': here the filter should end"),
        ("(page > 1", "here a ) is needed"),
        ("page > 1 or", "at its end: here a field's name is needed"),
        ("2 < page", "here a field's name is needed"),
        ("1 == 1", "here a field's name is needed"),
        ("true", "here a field's name is needed"),
        ('source == "open', "stands in quotes that close"),
        ("page > other", "here a value is needed"),
        ("page > 1; drop", "no part of a filter"),
        ("$meta['x'] == 1", "no part of a filter"),
        ("json_contains(x, 1)", "a word of Milvus' own"),
        ("exists owner", "a word of Milvus' own"),
        ("page like 2", "like needs a text"),
        ("page > 99999999999999999999", "larger than any"),
        ("page > 1e999", "larger than any"),
        ("page > 1x", "no part of a filter"),
        ('source == "a\0b"', "control character U+0000"),
        ('source == "a\udc80b"', "control character U+DC80"),
        ("ｐage == 1", "no part of a filter"),
        ("(" * (DEEPEST + 2) + "page > 1" + ")" * (DEEPEST + 2), "parentheses within each other"),
        ("not " * (DEEPEST + 2) + "page > 1", "parentheses within each other"),
        ("page > 1 or " * LONGEST + "page > 1", "characters"),
    ],
)
def test_what_is_no_filter_is_one_line_that_says_where(written: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(written, FIELDS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t\"'\\[]%"), max_size=30)


@given(value=TEXT, quote=st.sampled_from("\"'"))
@example(value='" or page >= 0 or uri == "', quote='"')
@example(value="\\", quote="'")
def test_a_text_in_quotes_means_itself_and_nothing_else(value: str, quote: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    found = parse_expr(parse_where(f"uri == {quote}{escaped}{quote}", FIELDS).text)
    assert (type(found).__name__, found.op, found.left.name, found.right.value) == ("CmpOp", "==", "uri", value)


@given(written=st.text(max_size=60) | st.lists(st.sampled_from(
    ["page", "uri", "==", ">", "1", '"x"', "'", '"', "and", "or", "not", "(", ")", "in", "[", "]", ",", "\\", "true",
     "like", "$meta", "\0", "1 == 1", "👍"]), max_size=12).map(" ".join))  # fmt: skip
def test_whatever_is_written_is_refused_or_a_filter_of_named_fields_only(written: str) -> None:
    try:
        where = parse_where(written, FIELDS)
    except UsageError:
        return
    if where.text:
        parse_expr(where.text)
