"""The contract of parsers as a test that any package can run: `check_parser(PARSER, {"a.foo": data})`."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator, Mapping

from roost.parsers import DocumentError, PagedParser, PageRange, Parsed, Parser, TextBlock, clean

_KINDS = ("text", "markdown", "table")


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
