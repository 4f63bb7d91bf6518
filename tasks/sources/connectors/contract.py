"""The contract between Roost and connectors: the protocols, and the records that they exchange.

Roost keeps the plan, the ledger, deletions and retries; a connector only says what there is, and gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias, runtime_checkable

from roost.tasks.sources.source import Columns


@dataclass(frozen=True)
class Place:
    """What a connector opens. It stays small and without secrets: it goes to every process that reads a document.

    uri: The source's URI, made absolute.
    columns: The columns that the user chose, for places that have columns.
    follow_links: Whether links that lead out of a folder are followed.
    """

    uri: str
    columns: Columns = field(default_factory=Columns)
    follow_links: bool = False


@dataclass(frozen=True)
class Content:
    """The content of a document.

    data: Bytes, which a parser of Roost reads; or the document's text.
    media_type: MIME type, as in `text/html`: the parser of bytes whose key has no suffix that a parser names. Of a
        text, empty for plain text that no parser reads.
    is_web_page: Whether it is HTML of a web site, of which only the main text is indexed, without navigation.
    """

    data: bytes | str
    media_type: str = ""
    is_web_page: bool = False


@dataclass(frozen=True)
class Metadata:
    """What a place knows of a document beside its content.

    title: Is stored with each chunk.
    url: Where a person can see the document; stored as the field `url`.
    fields: Further fields, stored with each chunk.
    """

    title: str = ""
    url: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A document of a place.

    key: Its name in the place, as in `reports/2026.pdf`; it stays while the document does, and no other has it.
    fingerprint: ETag, hash or revision: it differs when the content does. Documents with the same fingerprint and size
        as before are not read. Empty where the place has none.
    modified: When it was changed; compared where there is no fingerprint.
    size: Bytes; None where they are not known.
    location: Local path or fsspec URL at which every process can read it; empty to read it with `Connection.read`.
    text: Its text, for places that give it with the listing: it is then not read again. None where they do not.
    content: The same for content that a parser reads, or of which only the main text is indexed.
    metadata: With `text` or `content`, what `Connection.metadata` would give.
    """

    key: str
    fingerprint: str = ""
    modified: datetime | str = ""
    size: int | None = None
    location: str = ""
    text: str | None = None
    content: Content | None = None
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Unlisted:
    """Part of a place that could not be listed: the listing is not complete. No document there counts as missing.

    prefix: With which the keys of that part begin; empty for the whole place.
    """

    prefix: str = ""


@dataclass(frozen=True)
class Skipped:
    """Something that is no document, for the report; `what` names its kind, as in `pipe or device`."""

    key: str
    what: str


Entry: TypeAlias = Item | Unlisted | Skipped


@runtime_checkable
class Connection(Protocol):
    """An open place. It is used by one thread at a time."""

    def list(self) -> Iterator[Entry]:
        """Yield the documents that there are now.

        A listing that ends without an exception is complete, except for what it yields as `Unlisted`. One that is not
        complete adds and changes documents, and deletes none.
        """

    def read(self, key: str) -> Content:
        """Read one document, in any process.

        Raises:
            FileNotFoundError, LookupError: There is no such document any more.
            DocumentError: It cannot be read, however often it is tried.
            Exception: Any other may pass; Roost tries again.
        """

    def metadata(self, key: str) -> Metadata:
        """Give what is known of one document; the same exceptions as `read`."""


@runtime_checkable
class ClosableConnection(Connection, Protocol):
    """A connection that must be closed."""

    def close(self) -> None:
        """Close it."""


@runtime_checkable
class ComparingConnection(Connection, Protocol):
    """A connection that asks its place for each document whether it has changed, as HTTP can."""

    def expect(self, known: Mapping[str, Item], is_chosen: Callable[[str], bool]) -> None:
        """Take what the next listing may compare with.

        Args:
            known: By key, the documents that are indexed, with fingerprint, time and size; without those that must be
                read again. An item that is listed as it stands here, without content, counts as unchanged.
            is_chosen: Whether the source's include and exclude choose a key; others need not be asked for.
        """


@runtime_checkable
class KeyedConnection(Connection, Protocol):
    """A connection that can look at one document without listing the others: for runs of just some documents."""

    def find(self, key: str) -> Iterator[Entry]:
        """Yield what `list` would yield of one document; nothing where there is none with this key.

        Raises:
            Exception: This cannot be told. The document is then left as it is, as one that could not be listed.
        """


@runtime_checkable
class Connector(Protocol):
    """Opens the places of one kind; which URIs those are, its entry point says by its name, a URI scheme."""

    def connect(self, place: Place) -> Connection:
        """Open a place; as little as possible, because every process that reads documents does.

        Raises:
            SourceError: The place cannot be what the user meant; the message says what to correct.
        """
