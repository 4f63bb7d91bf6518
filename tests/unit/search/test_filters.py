"""Filters as people write them: what they mean, read back by Milvus Lite's own parser, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter.parser import parse_expr
from pymilvus import DataType

from roost.tasks.errors import UsageError
from roost.tasks.search.checked_filter import checked_where
from roost.tasks.search.filters import MAX_DEPTH, MAX_LENGTH, Where, parse_where
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.metadata.kinds import Kind

FIELDS: dict[str, Kind] = {"source": "text", "uri": "text", "page": "number", "ordinal": "number"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ""),
        ("  \n", ""),
        ('source == "handbook" and page > 2', '(source == "handbook" and page > 2)'),
        ("source=='it\\'s' or page<=-1", '(source == "it\'s" or page <= -1)'),
        ("NOT (page in [1, 2,3]) && uri like 'staff/%'", '((page not in [1, 2, 3]) and uri like "staff/%")'),
        ('page not in [1] or ! source != "a"', '(page not in [1] or source == "a")'),
        ('uri == "C:\\dir\\new\\\\x"', "(C:\\dir, newline, one backslash)"),
        ("page > 2.5", "page > 2.5"),
    ],
)
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
    ("written", "meant"),
    [
        ('owner != "x"', '(owner < "x" or owner > "x")'),
        ('not owner == "x"', '(owner < "x" or owner > "x")'),
        ("not (size > 3 or size == 1)", "((size <= 3 and (size < 1 or size > 1)))"),
        ("not (not draft != true)", "(draft == false)"),
        ("size not in [1, 2]", "(size not in [1, 2] and (size < 1 or size >= 1))"),
        ("not size in [1, 2]", "(size not in [1, 2] and (size < 1 or size >= 1))"),
        ("not size not in [1, 2]", "size in [1, 2]"),
        ("draft not in [true]", "(draft not in [true] and draft in [true, false])"),
        ('not owner like "x%"', '(not (owner like "x%") and (owner < "" or owner >= ""))'),
        ('not ("ops" in teams and page == 1)', '((not (json_contains(teams, "ops")) or page != 1))'),
        ('not ("ops" not in teams)', '(json_contains(teams, "ops"))'),
        ('not json_contains_any(teams, ["a"])', 'not (json_contains_any(teams, ["a"]))'),
    ],
)
def test_a_negated_comparison_asks_for_a_value_of_metadata(written: str, meant: str) -> None:
    where = parse_where(written, FIELDS)
    assert where.text == meant
    assert parse_where(where.text, FIELDS).names == where.names


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("page", "after 'page' comes one of =="),
        ("page = 2", "written =="),
        ('page == "2"', 'page has numbers as values, not "2"'),
        ("page == true", "page has numbers as values, not true"),
        ("source == 2", "source has texts as values, not 2"),
        ("page in []", "an empty list"),
        ("page in [1", "at its end: ] is expected here"),
        ("page > 1 source", "at 'source': the filter should end here"),
        ("(page > 1", ") is expected here"),
        ("page > 1 or", "at its end: the name of a field is expected here"),
        ("2 < page", "the name of a field is expected here"),
        ("1 == 1", "the name of a field is expected here"),
        ("true", "the name of a field is expected here"),
        ('source == "open', "texts in closed quotes"),
        ("page > other", "a value is expected here"),
        ("page > 1; drop", "cannot be part of a filter"),
        ("$meta['x'] == 1", "cannot be part of a filter"),
        ("text_match(x, 1)", "a keyword of Milvus"),
        ("exists owner", "a keyword of Milvus"),
        ("page like 2", "like needs a text"),
        ("page > 99999999999999999999", "larger than Milvus can store"),
        ("page > 1e999", "larger than Milvus can store"),
        ("page > 1x", "cannot be part of a filter"),
        ('source == "a\0b"', "control character U+0000"),
        ('source == "a\udc80b"', "control character U+DC80"),
        ("ｐage == 1", "cannot be part of a filter"),
        ("(" * (MAX_DEPTH + 2) + "page > 1" + ")" * (MAX_DEPTH + 2), "nested parentheses"),
        ("not " * (MAX_DEPTH + 2) + "page > 1", "nested parentheses"),
        ("page > 1 or " * MAX_LENGTH + "page > 1", "characters"),
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


@given(
    written=st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "page",
                "uri",
                "==",
                ">",
                "1",
                '"x"',
                "'",
                '"',
                "and",
                "or",
                "not",
                "(",
                ")",
                "in",
                "[",
                "]",
                ",",
                "\\",
                "true",
                "like",
                "$meta",
                "\0",
                "1 == 1",
                "👍",
            ]
        ),
        max_size=12,
    ).map(" ".join)
)
def test_whatever_is_written_is_refused_or_a_filter_of_named_fields_only(written: str) -> None:
    try:
        where = parse_where(written, FIELDS)
    except UsageError:
        return
    if where.text:
        parse_expr(where.text)


class FewRows:
    """Stands for a store: a document of forty chunks without metadata, then one with a field of its own."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = [{"ordinal": n, "vector": [0.0]} for n in range(40)]
        self.rows.append({"ordinal": 0, "vector": [0.0], "owner": "Ilse", "_node_type": "TextNode"})

    async def describe_collection(self, _: str) -> dict[str, Any]:
        return {"fields": [{"name": "source", "type": DataType.VARCHAR}, {"name": "ordinal", "type": DataType.INT64}]}

    async def query(self, _: str, filter: str, __: list[str], *, limit: int) -> list[dict[str, Any]]:
        rows = [row for row in self.rows if not filter or (filter == "ordinal == 0" and row["ordinal"] == 0)]
        return rows[:limit]


async def test_an_unknown_field_is_refused_with_the_names_of_all_documents_metadata() -> None:
    version: Any = SimpleNamespace(name="docs__v1", index="docs", field_facts=FieldFacts())
    with pytest.raises(UsageError) as refused:
        await checked_where(FewRows(), version, 'ownr == "Ilse"')  # type: ignore[arg-type]
    known = "did you mean 'owner'? There are fields: ordinal, source; metadata: owner"
    assert str(refused.value) == f"no chunk of index 'docs' has a field 'ownr'; {known}"


KINDS: dict[str, Kind] = {"modified": "date", "teams": "texts", "sizes": "numbers", "open": "boolean", "team": "text"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("modified >= 2026-01-01", 'modified >= "2026-01-01"'),
        ("modified<2026-01-01T10:00+02:00", 'modified < "2026-01-01T08:00:00Z"'),
        ("modified in ['2026-01-01 08:00', 2026-01-02]", 'modified in ["2026-01-01T08:00:00Z", "2026-01-02"]'),
        ("created >= 2026-01-01", 'created >= "2026-01-01"'),
        ('"ops" in teams', 'json_contains(teams, "ops")'),
        ('"ops" not in teams and 3 in sizes', '(not (json_contains(teams, "ops")) and json_contains(sizes, 3))'),
        ("'a' in tags", 'json_contains(tags, "a")'),
        ("ARRAY_CONTAINS(teams, 'ops')", 'json_contains(teams, "ops")'),
        ('array_contains_any(teams, ["a", "b"])', 'json_contains_any(teams, ["a", "b"])'),
        ("open == True", "open == true"),
    ],
)
def test_dates_and_lists_are_written_as_milvus_reads_them(written: str, meant: str) -> None:
    where = parse_where(written, KINDS)
    assert where.text == meant
    assert parse_where(meant, KINDS).names == where.names, "what is written can be read again"
    parse_expr(meant)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('modified > "soon"', 'modified has dates as values, not "soon"'),
        ("modified > 2026-02-30", "modified has dates as values, not 2026-02-30"),
        ("created > 2026-02-30", "there is no 2026-02-30"),
        ("team == 2026-01-01", "team has texts as values"),
        ('teams == "ops"', 'teams has lists of texts: write whether they have a value, as in "ops" in teams'),
        ('"ops" in team', 'team has texts, not lists: write team == "ops"'),
        ("3 in teams", "teams has texts as values, not 3"),
        ('open == "yes"', 'open has true or false as values, not "yes"'),
        ("open == 1", "open has true or false as values"),
        ('teams like "o%"', "like needs a text, and teams has lists of texts"),
        ("team == 'a') or (team != 'a'", "the filter should end here"),
        ("team == 'a' or true", "the name of a field is expected here"),
        ("json_contains(teams, 'a'", ") is expected here"),
    ],
)
def test_a_value_of_another_kind_or_an_open_parenthesis_is_refused(written: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(written, KINDS)
    assert says in str(caught.value)
