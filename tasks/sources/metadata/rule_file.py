"""Reading of a metadata file: CSV with a column `match` and a column a field, or JSON lines `{match, fields}`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from roost.tasks.errors import SourceError, UsageError
from roost.tasks.locations import hide_secrets, open_location
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.metadata.names import FieldName, parse_name
from roost.tasks.sources.metadata.rule import Given, Rule

_CSV_SUFFIXES, _TSV_SUFFIX = (".csv", ".tsv"), ".tsv"
MATCH, FIELDS = "match", "fields"


def read_rule_file(file: str) -> list[Rule]:
    """Read the rules of a file, in its order.

    Args:
        file: A path or a URL.

    Raises:
        SourceError: It cannot be read, or is no such file; the message names the line.
    """
    try:
        with open_location(file) as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"metadata file {file} is not UTF-8: save it as UTF-8") from None
    except Exception as error:  # noqa: BLE001  each remote filesystem raises its own exceptions
        raise SourceError(f"metadata file {file} cannot be read: {describe_error(error)}") from None
    name = PurePosixPath(hide_secrets(file)).name
    suffix = PurePosixPath(name).suffix.lower()
    is_csv = suffix in _CSV_SUFFIXES or not (suffix.startswith(".json") or text.lstrip().startswith("{"))
    rules = _csv_rules(text, name, "\t" if suffix == _TSV_SUFFIX else ",") if is_csv else _json_rules(text, name)
    found = list(rules)
    if not found:
        raise SourceError(f"metadata file {file} has no rules: write a line for each glob or document")
    return found


def _csv_rules(text: str, name: str, delimiter: str) -> Iterator[Rule]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if header.count(MATCH) != 1:
            raise SourceError(f"{name} line 1: a metadata file has a column {MATCH}, here are {', '.join(header)}")
        fields = {column: _field(cell, f"{name} line 1") for column, cell in enumerate(header) if cell != MATCH}
        _refuse_doubled([field.name for field in fields.values()], f"{name} line 1")
        for row in reader:
            place = f"{name} line {reader.line_num}"
            if len(row) > len(header):
                raise SourceError(f"{place}: {len(row)} cells, but the first line names {len(header)} columns")
            if any(cell.strip() for cell in row):
                cells = {column: row[column].strip() for column in fields if column < len(row)}
                given = (Given(*fields[column], value) for column, value in cells.items() if value)
                yield _rule(row[header.index(MATCH)].strip(), tuple(given), place)
    except csv.Error as error:
        raise SourceError(f"{name} line {reader.line_num}: {error}") from None


def _json_rules(text: str, name: str) -> Iterator[Rule]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{name} line {number}"
        try:
            found = json.loads(line)
        except ValueError:
            raise SourceError(f"{place}: it is no JSON object on one line") from None
        if not isinstance(found, dict) or found.keys() != {MATCH, FIELDS} or not isinstance(found[FIELDS], dict):
            raise SourceError(f'{place}: write {{"match": "reports/**", "fields": {{"team": "ops"}}}}')
        values = {_field(key, place): value for key, value in found[FIELDS].items() if value is not None}
        _refuse_doubled([field.name for field in values], place)
        for field, value in values.items():
            if isinstance(value, dict) or (
                isinstance(value, list) and any(isinstance(one, list | dict) for one in value)
            ):
                raise SourceError(f"{place}: field {field.name!r} has a value with values in it: write texts or lists")
        given = tuple(Given(*field, value, is_typed=True) for field, value in values.items())
        yield _rule(found[MATCH], given, place)


def _field(text: str, place: str) -> FieldName:
    try:
        return parse_name(text)
    except UsageError as error:
        raise SourceError(f"{place}: {error}") from None


def _rule(match: Any, given: tuple[Given, ...], place: str) -> Rule:
    if not isinstance(match, str) or not match:
        raise SourceError(f"{place}: match is empty; write a glob, or the path of a document")
    return Rule(place, match, given)


def _refuse_doubled(names: list[str], place: str) -> None:
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"{place}: field {doubled!r} is there twice")
