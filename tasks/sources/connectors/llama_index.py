"""The connector of LlamaIndex readers with resources: SharePoint, S3, Azure Blob and others, each a package of its own.

Its URIs are `llamaindex://PACKAGE/READER?ARGUMENT=VALUE`: `PACKAGE` is a module below `llama_index.readers`, `READER`
its class. The parameter `from_env=ARGUMENT:VARIABLE,...` takes secret arguments from environment variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.settings import variable_of_source
from roost.tasks.sources.connectors.contract import Content, Entry, Item, Metadata, Place, Unlisted
from roost.tasks.sources.foreign_errors import describe_error

_ROOM = "llama_index.readers"
_FROM_ENV = "from_env"
#: What readers call these facts; the first that is there is taken.
_FINGERPRINTS = ("content_hash", "etag", "eTag", "e_tag", "content_md5", "md5", "hash", "revision")
_TIMES = ("last_modified_date", "modified_at", "last_modified", "updated_at", "modified")
_SIZES = ("file_size", "size")
_URLS = ("url", "web_url", "link")
#: Facts that say no more than the key.
_NAMES = ("file_path", "file_name")


class LlamaIndexConnector:
    """Opens readers that have `ResourcesReaderMixin`."""

    def connect(self, place: Place) -> LlamaIndexConnection:
        """Make the reader of a URI.

        Raises:
            SourceError: There is no such reader, it lists no resources, or it refuses its arguments.
        """
        from llama_index.core.readers.base import ResourcesReaderMixin

        parts = urlsplit(place.uri)
        name = parts.path.strip("/")
        what = f"the LlamaIndex reader {parts.netloc}/{name}"
        if not (parts.netloc.replace("_", "").isalnum() and name.isidentifier()):
            raise SourceError(f"{place.uri}: write llamaindex://PACKAGE/READER?ARGUMENT=VALUE")
        try:
            reader = getattr(import_module(f"{_ROOM}.{parts.netloc}"), name, None)
        except Exception as error:  # noqa: BLE001  a package may raise anything
            package = f"llama-index-readers-{parts.netloc.replace('_', '-')}"
            raise SourceError(f"{what} cannot be loaded ({describe_error(error)}): pip install {package}") from None
        if not (isinstance(reader, type) and issubclass(reader, ResourcesReaderMixin)):
            raise SourceError(f"{what} does not exist, or does not list resources (ResourcesReaderMixin)")
        try:
            return LlamaIndexConnection(reader(**_arguments(parts.query)))
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001  each reader checks its arguments in its own way
            raise SourceError(f"{what} refuses its arguments: {describe_error(error)}") from None


CONNECTOR = LlamaIndexConnector()


class LlamaIndexConnection:
    """A reader and its resources."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def list(self) -> Iterator[Entry]:
        """Yield the resources; one about which the reader tells nothing is not listed, and not deleted."""
        for resource in self._reader.list_resources():
            key = str(resource)
            try:
                facts = self._reader.get_resource_info(key)
            except Exception:  # noqa: BLE001  each reader raises its own exceptions
                yield Unlisted(key)
                continue
            size = _first(facts, _SIZES)
            fingerprint = _first(facts, _FINGERPRINTS)
            yield Item(
                key,
                fingerprint="" if fingerprint.startswith("W/") else fingerprint.strip('"'),
                modified=_first(facts, _TIMES),
                size=int(size) if size.isdecimal() else None,
            )

    def read(self, key: str) -> Content:
        """Read the bytes of a resource, for Roost's parsers; the reader's own text, where it gives no bytes."""
        if hasattr(self._reader, "read_file_content"):  # `FileSystemReaderMixin`, whose module reads files itself
            try:
                return Content(bytes(self._reader.read_file_content(Path(key))))
            except ValueError as error:
                raise DocumentError("unreadable", f"its reader refuses it: {describe_error(error)}") from None
        found = self._reader.load_resource(key)
        if not found:
            raise FileNotFoundError(key)
        return Content("\n\n".join(document.text for document in found))

    def metadata(self, key: str) -> Metadata:
        """Give the URL of a resource, and the other facts that are plain values."""
        facts = self._reader.get_resource_info(key)
        known = {*_FINGERPRINTS, *_TIMES, *_SIZES, *_URLS, *_NAMES}
        fields = {
            name: value
            for name, value in facts.items()
            if name not in known and isinstance(value, str | int | float | bool)
        }
        return Metadata(url=_first(facts, _URLS), fields=fields)


def _arguments(query: str) -> dict[str, str]:
    """Give the arguments of a reader; those named in `from_env` are taken from the environment.

    Raises:
        SourceError: A variable is not set.
    """
    given = dict(parse_qsl(query))
    for pair in filter(None, given.pop(_FROM_ENV, "").split(",")):
        argument, _, variable = pair.partition(":")
        value = variable_of_source(variable)
        if value is None:
            raise SourceError(f"the environment variable {variable!r}, for the argument {argument!r}, is not set")
        given[argument] = value
    return given


def _first(facts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = next((facts[name] for name in names if facts.get(name) not in (None, "")), "")
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
