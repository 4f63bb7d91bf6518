"""The contracts of parsers and connectors as tests that any package can run: `check_parser` and `check_source`."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from roost.parsers import DocumentError, PagedParser, PageRange, Parsed, Parser, TextBlock, clean
from roost.sources import (
    ClosableConnection,
    Columns,
    ComparingConnection,
    Connection,
    Connector,
    Content,
    Entry,
    Item,
    KeyedConnection,
    Metadata,
    Place,
    Skipped,
    Unlisted,
)

_KINDS = ("text", "markdown", "table")
#: A key that no place has.
_NO_KEY = "no such key of roost.testing"
#: As long as Milvus stores; longer keys are quarantined.
_MAX_KEY_BYTES = 8_192


def check_parser(parser: Parser, samples: Mapping[str, bytes], *, mutations: int = 20, seed: int = 0) -> None:
    """Check that a parser keeps the contract, on samples and on damaged copies of them.

    Args:
        parser: The parser.
        samples: Name and content of files that it reads; at least one.
        mutations: Damaged copies of each sample; each must be read or refused with `DocumentError`.
        seed: Of the damage; the same seed makes the same copies.

    Raises:
        AssertionError: It does not; the message names the sample, and the seed and number of the damaged copy.
        Exception: What the parser raised on a sample.
    """
    assert isinstance(parser, Parser), f"{parser!r} lacks a part of roost.parsers.Parser"
    assert parser.name, "name is empty"
    assert parser.name == parser.name.strip(), f"name {parser.name!r} begins or ends with a blank"
    assert parser.version, "version is empty: an upgrade of the parser would read nothing again"
    assert ";" not in parser.version, f"version {parser.version!r} contains a semicolon"
    for suffix in parser.suffixes:
        is_suffix = suffix.startswith(".") and suffix == suffix.lower() and suffix.count(".") == 1
        assert is_suffix, f"suffix {suffix!r} is not in lower case with one dot before it"
    assert samples, "give at least one sample"
    for name, data in samples.items():
        parsed = parser.parse(data)
        check_parsed(parsed, name)
        assert parsed.has_text, f"{name}: no text"
        assert parser.parse(data) == parsed, f"{name}: parsed twice, the results differ"
        assert pickle.loads(pickle.dumps(parsed)) == parsed, f"{name}: changed by pickling"  # noqa: S301  our own
        if isinstance(parser, PagedParser):
            ranges = [parser.parse_pages(data, PageRange(number, 2)) for number in range(2)]
            assert parser.join(ranges) == parsed, f"{name}: parsed in two page ranges, the result differs"
        for number, damaged in enumerate(mutate(data, mutations, seed)):
            _check_damaged(parser, damaged, f"{name}, damaged copy {number} of seed {seed}")


def check_parsed(parsed: Parsed, name: str) -> None:
    """Check one result of a parser.

    Args:
        parsed: The result.
        name: Of the file, for the message.

    Raises:
        AssertionError: It breaks the contract.
    """
    assert isinstance(parsed, Parsed), f"{name}: parse returned {type(parsed).__name__}, not Parsed"
    pages = []
    for number, block in enumerate(parsed.blocks):
        assert isinstance(block, TextBlock), f"{name}: block {number} is no TextBlock"
        assert block.kind in _KINDS, f"{name}: block {number} has the kind {block.kind!r}"
        assert block.page >= 0, f"{name}: block {number} has page {block.page}"
        pages.append(block.page)
    assert pages == sorted(pages), f"{name}: the pages are not in order"
    for text in (parsed.title, *(text for block in parsed.blocks for text in (block.text, block.heading))):
        assert clean(text) == text, f"{name}: a text that cannot be stored; pass it through roost.parsers.clean"
    json.dumps(dict(parsed.metadata), allow_nan=False, default=str)


def mutate(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Make damaged copies of a file: bytes changed, parts removed, doubled or moved, the end cut off.

    Args:
        data: The file.
        count: Number of copies.
        seed: The same seed makes the same copies.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(copy) or 1)
            end = min(len(copy), start + chance.randint(1, 1 + len(copy) // 8))
            match chance.randrange(5):
                case 0:
                    copy[start : start + 8] = chance.randbytes(8)
                case 1:
                    del copy[start:end]
                case 2:
                    copy[start:start] = copy[start:end]
                case 3:
                    del copy[start:]
                case _:
                    part = copy[start:end]
                    del copy[start:end]
                    place = chance.randrange(len(copy) + 1)
                    copy[place:place] = part
        yield bytes(copy)


def _check_damaged(parser: Parser, data: bytes, name: str) -> None:
    if not data:
        return
    try:
        check_parsed(parser.parse(data), name)
    except (DocumentError, MemoryError, RecursionError):
        return
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__} instead of DocumentError: {error}") from error


def check_source(
    connector: Connector, uri: str, *, columns: Columns | None = None, is_complete: bool = True
) -> list[Item]:
    """Check that a connector keeps the contract, on a place with at least one document; return its items.

    Args:
        connector: The connector.
        uri: Of the place, which must not change in between.
        columns: The columns that a user chose.
        is_complete: Whether the place can be listed completely.

    Raises:
        AssertionError: It does not; the message names the key.
        Exception: What the connector raised.
    """
    assert isinstance(connector, Connector), f"{connector!r} lacks a part of roost.sources.Connector"
    place = Place(uri, columns or Columns())
    listings = []
    for _ in range(2):
        connection = connector.connect(place)
        assert isinstance(connection, Connection), f"{connection!r} lacks a part of roost.sources.Connection"
        first, again = list(connection.list()), list(connection.list())
        assert first == again, "listed twice over one connection, the entries differ"
        listings.append(first)
        items = _check_entries(first, is_complete=is_complete)
        for item in items:
            _check_item(connection, item)
        _check_unknown_key(connection)
        if isinstance(connection, KeyedConnection):
            _check_keyed(connection, items)
        if isinstance(connection, ComparingConnection):
            _check_comparing(connection, items)
        if isinstance(connection, ClosableConnection):
            connection.close()
    assert listings[0] == listings[1], "listed over two connections, the entries differ"
    return items


def _check_entries(entries: list[Entry], *, is_complete: bool) -> list[Item]:
    for entry in entries:
        assert isinstance(entry, Item | Unlisted | Skipped), f"list yielded {entry!r}"
    items = [entry for entry in entries if isinstance(entry, Item)]
    keys = [item.key for item in items]
    assert keys, "it lists no document"
    assert len(set(keys)) == len(keys), f"a key is listed twice: {max(keys, key=keys.count)!r}"
    has_all = not any(isinstance(entry, Unlisted) for entry in entries)
    assert has_all == is_complete, f"the listing is {'complete' if has_all else 'not complete'}"
    return items


def _check_item(connection: Connection, item: Item) -> None:
    key = item.key
    assert key, "a key is empty"
    assert clean(key) == key, f"{key!r}: a key that cannot be stored"
    assert len(key.encode()) <= _MAX_KEY_BYTES, f"{key[:80]!r}...: longer than {_MAX_KEY_BYTES} bytes"
    assert isinstance(item.modified, str | datetime), f"{key!r}: modified is a {type(item.modified).__name__}"
    assert item.size is None or item.size >= 0, f"{key!r}: its size is {item.size}"
    content, metadata = connection.read(key), connection.metadata(key)
    assert isinstance(content, Content), f"{key!r}: read returned {type(content).__name__}, not Content"
    assert isinstance(content.data, bytes | str), f"{key!r}: its content is a {type(content.data).__name__}"
    assert connection.read(key) == content, f"{key!r}: read twice, the contents differ"
    assert isinstance(metadata, Metadata), f"{key!r}: metadata returned {type(metadata).__name__}, not Metadata"
    assert connection.metadata(key) == metadata, f"{key!r}: asked for twice, the metadata differ"
    json.dumps(dict(metadata.fields), allow_nan=False, default=str)
    if item.text is not None:
        assert (content, metadata) == (Content(item.text), item.metadata), f"{key!r}: list and read differ"
    elif item.content is not None:
        assert (content, metadata) == (item.content, item.metadata), f"{key!r}: list and read differ"
    if item.text is None and item.size is not None and isinstance(content.data, bytes):
        assert len(content.data) == item.size, f"{key!r}: listed with {item.size} bytes, read with {len(content.data)}"


def _check_comparing(connection: ComparingConnection, items: list[Item]) -> None:
    """Check that a place whose documents are all known lists the same ones, and asks for no key that is not chosen."""
    known = {item.key: replace(item, content=None, metadata=Metadata()) for item in items}
    connection.expect(known, lambda key: True)
    again = [entry.key for entry in connection.list() if isinstance(entry, Item)]
    assert again == [*known], "with all documents known, it lists others"
    connection.expect({}, lambda key: False)
    assert not any(isinstance(entry, Item) for entry in connection.list()), "it lists documents that are not chosen"


def _check_keyed(connection: KeyedConnection, items: list[Item]) -> None:
    """Check that each document is found as it is listed, and that a key of none finds nothing."""
    for item in items:
        found = list(connection.find(item.key))
        if item.fingerprint:  # a time that the place writes otherwise in an answer about one document is not compared
            found = [replace(one, modified=item.modified) if isinstance(one, Item) else one for one in found]
        assert found == [item], f"{item.key!r}: found alone, it differs from what is listed"
    assert not list(connection.find(_NO_KEY)), "looking for a key that is not there yields something"


def _check_unknown_key(connection: Connection) -> None:
    try:
        connection.read(_NO_KEY)
    except (LookupError, FileNotFoundError, DocumentError):
        return
    raise AssertionError("reading a key that is not there raised no LookupError or FileNotFoundError")
