"""Rules for metadata: files, patterns and values; which documents get which fields, of which kind; what is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roost.tasks.errors import SourceError
from roost.tasks.ids import doc_id
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.metadata.give import MAX_FIELD_CHARACTERS, GivenFields, RuledSource, check_rules, give_fields
from roost.tasks.sources.metadata.kinds import KINDS, Kind, common_kind, convert, infer_kind
from roost.tasks.sources.source import Source

PATHS = ("ops/2024/a.md", "ops/2025/b.md", "dev/2025/c.md", "notes[1].md")


def listing(*paths: str, source: str = "docs") -> pl.DataFrame:
    rows = [{"doc_id": doc_id(source, path), "source": source, "uri": path, "spool": ""} for path in paths or PATHS]
    return pl.DataFrame(rows, schema=DOCUMENT)


def give(*paths: str, facts: FieldFacts | None = None, **choices: Any) -> tuple[GivenFields, dict[str, Any]]:
    """Give fields to documents: the result, and the fields of each path that has some."""
    documents = listing(*paths)
    given = give_fields(documents, [RuledSource("docs", Metadata(**choices))], facts or FieldFacts())
    named = documents.join(given.documents, on="doc_id").select("uri", "fields")
    return given, {uri: json.loads(fields) for uri, fields in named.iter_rows()}


def rule_file(folder: Path, text: str, name: str = "rules.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_value_for_all_is_taken_before_a_rule_for_one_before_a_glob_before_a_pattern(tmp_path: Path) -> None:
    file = rule_file(tmp_path, "match,team,owner,level\nops/**,globbed,ilse,1\nops/2024/a.md,own,,2\n")
    given, fields = give(file=file, patterns=["{team}/{year}/**"], values=["level=9"])
    assert fields == {
        "ops/2024/a.md": {"team": "own", "owner": "ilse", "level": 9, "year": 2024},
        "ops/2025/b.md": {"team": "globbed", "owner": "ilse", "level": 9, "year": 2025},
        "dev/2025/c.md": {"team": "dev", "level": 9, "year": 2025},
        "notes[1].md": {"level": 9},
    }
    assert given.facts.kinds == {"team": "text", "owner": "text", "level": "number", "year": "number"}
    assert (given.unmatched, given.contradictions) == ((), ())


def test_json_lines_have_kinds_of_their_own_and_a_name_is_no_glob(tmp_path: Path) -> None:
    lines = [
        {"match": "ops/**", "fields": {"teams": ["ops", "dev"], "code": "007", "modified": "2026-01-01", "gone": None}},
        {"match": "notes[1].md", "fields": {"open": True, "modified": "2026-01-01T10:00:00+02:00"}},
        {"match": "docs/dev/2025/c.md", "fields": {"open": False}},
    ]
    file = rule_file(tmp_path, "\n".join(map(json.dumps, lines)), "rules.jsonl")
    given, fields = give(file=file)
    assert fields["ops/2024/a.md"] == {"teams": ["ops", "dev"], "code": "007", "modified": "2026-01-01"}
    assert fields["notes[1].md"] == {"open": True, "modified": "2026-01-01T08:00:00Z"}
    assert fields["dev/2025/c.md"] == {"open": False}
    assert given.facts.kinds == {"teams": "texts", "code": "text", "modified": "date", "open": "boolean"}


def test_rules_that_match_nothing_or_contradict_each_other_are_named(tmp_path: Path) -> None:
    file = rule_file(tmp_path, "match,team\nnone/**,x\nops/**,ops\n**/a.md,mine\n**/*.md,\n")
    given, fields = give(file=file, patterns=["{a}/{b}/{c}/{d}"])
    assert given.unmatched == (
        "pattern {a}/{b}/{c}/{d} matches no document",
        "rules.csv line 2 (none/**) matches no document",
    )
    assert given.contradictions == (
        "rules.csv line 3 (ops/**) and rules.csv line 4 (**/a.md) give 'team' different values, to ops/2024/a.md for "
        "one; the second is taken",
    )
    assert fields["ops/2024/a.md"] == {"team": "mine"}


def test_a_field_keeps_the_kind_that_the_index_has_and_a_value_of_another_kind_is_refused() -> None:
    facts = FieldFacts(kinds={"year": "number", "teams": "texts"})
    _, fields = give("2024/a.md", facts=facts, patterns=["{year}/**"], values=["teams=ops; dev"])
    assert fields == {"2024/a.md": {"year": 2024, "teams": ["ops", "dev"]}}
    message = "field 'year' has numbers in this index, not 'draft', which pattern {year}/\\*\\* gives to draft/b.md"
    with pytest.raises(SourceError, match=message):
        give("2024/a.md", "draft/b.md", facts=facts, patterns=["{year}/**"])
    with pytest.raises(SourceError, match="'year' has numbers in this index, not texts"):
        give(facts=facts, values=["year:text=2024"])
    rebuilt, fields = give("a.md", facts=FieldFacts(kinds={"year": "number"}, are_fixed=False), values=["year:text=1"])
    assert (fields, rebuilt.facts.kinds) == ({"a.md": {"year": "1"}}, {"year": "text"})


def test_who_says_nothing_follows_the_rules_in_force_until_they_are_forgotten() -> None:
    first, fields = give("a.md", values=["team=ops"])
    followed, again = give("a.md", "b.md", facts=first.facts)
    assert (fields, again) == ({"a.md": {"team": "ops"}}, {path: {"team": "ops"} for path in ("a.md", "b.md")})
    assert followed.facts == first.facts
    assert FieldFacts.decode(first.facts.encode()) == first.facts
    other = give_fields(listing("c.md", source="more"), [RuledSource("more", Metadata())], first.facts)
    assert (other.documents.height, other.facts) == (0, first.facts)
    forgotten, none = give("a.md", facts=first.facts, forget=True)
    assert (none, forgotten.facts.rules, forgotten.facts.kinds) == ({}, {}, {"team": "text"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,team\na,b\n", "line 1: a metadata file has a column match, here are path, team"),
        ("match,page\na,b\n", "line 1: 'page' cannot be the name of a field: Roost uses it itself"),
        ("match,a b\na,b\n", "'a b' cannot be the name of a field: use at most 64 letters"),
        ("match,in\na,b\n", "Roost uses it itself"),
        ("match,year:numbr\na,1\n", "unknown kind of field 'numbr'; did you mean 'number'"),
        ("match,a,a:number\na,1,2\n", "field 'a' is there twice"),
        ("match,a\nx,1,2\n", "line 2: 3 cells, but the first line names 2 columns"),
        ("match,a\n,1\n", "line 2: match is empty"),
        ("match,a\n", "has no rules"),
        ('{"match": "a", "fields": {"b": {"c": 1}}}', "field 'b' has a value with values in it"),
        ('{"match": "a"}', 'line 1: write {"match"'),
        ("{nonsense", "line 1: it is no JSON object on one line"),
        ("match,year:number\na.md,soon\n", "field 'year' has numbers in this index, not 'soon'"),
        ("match,day:date\na.md,2026-02-30\n", "field 'day' has dates in this index, not '2026-02-30'"),
        (f"match,a\na.md,{'x' * MAX_FIELD_CHARACTERS}\n", "the fields of a.md have 2,009 characters"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_where(text: str, says: str, tmp_path: Path) -> None:
    file = rule_file(tmp_path, text, "rules.jsonl" if text.startswith("{") else "rules.csv")
    with pytest.raises(SourceError) as error:
        give("a.md", file=file)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_wrong_patterns_and_doubled_values_are_refused_before_anything_is_listed(tmp_path: Path) -> None:
    wrong = {
        "cannot be read": Metadata(file=str(tmp_path / "none.csv")),
        "has no field": Metadata(patterns=["team/**"]),
        "has one field twice": Metadata(patterns=["{a}/{a}"]),
        "give field 'a' twice": Metadata(values=["a=1", "a=2"]),
        "given and forgotten at once": Metadata(values=["a=1"], forget=True),
    }
    for says, choices in wrong.items():
        with pytest.raises(SourceError, match=says):
            check_rules([Source(uri=".", metadata=choices)])


def test_a_source_is_noted_without_its_metadata_and_its_file_is_absolute(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(uri="docs", metadata=Metadata(file="rules.csv"))
    assert source.from_anywhere().metadata.file == str(tmp_path / "rules.csv")
    assert source.given == {"uri": str(tmp_path / "docs")}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *[
            ("7", "number"),
            ("007", "text"),
            ("-1.5", "number"),
            ("1e400", "text"),
            ("TRUE", "boolean"),
            ("yes", "text"),
        ],
        *[("2026-01-31", "date"), ("2026-01-31T08:00", "date"), ("2026-13-01", "text"), ("2026", "number")],
        *[('["a"]', "texts"), ("[1, 2.5]", "numbers"), ("a;b", "text"), ("[x]", "text"), ("9" * 30, "text")],
    ],
)
def test_the_kind_of_a_text_shows_in_it(value: str, kind: Kind) -> None:
    assert infer_kind([value], is_typed=False) == {kind}
    assert convert(value, kind) is not None


def test_values_of_several_kinds_have_one_that_takes_all() -> None:
    assert common_kind({"number", "text"}) == "text"
    assert common_kind({"date", "boolean"}) == "text"
    assert common_kind({"number", "numbers"}) == "numbers"
    assert common_kind({"number", "texts"}) == "texts"
    assert [common_kind({kind}) for kind in KINDS] == list(KINDS)
