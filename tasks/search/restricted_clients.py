"""Clients of pymilvus in the stores of LlamaIndex and LangChain that read only what the required filter matches.

Both libraries make their clients themselves and give them away (`vectors.client`), so the class of a client is changed
after it was made. What a caller adds as a filter is parsed as `--where` is, and written again: no part of it can end
the required filter's parenthesis. A caller's own connection to Milvus is not restricted by this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pymilvus import AnnSearchRequest, AsyncMilvusClient, Collection, MilvusClient

from roost.tasks.errors import UsageError
from roost.tasks.milvus.expressions import both, one_of
from roost.tasks.search.filters import parse_where
from roost.tasks.sources.metadata.kinds import Kind


@dataclass(frozen=True)
class Restriction:
    """What the clients of one opened version may read.

    collection: The version's collection, the only one.
    required: Filter as Milvus reads it; empty for none.
    fields: Fields whose kind is known.
    """

    collection: str
    required: str
    fields: Mapping[str, Kind]

    def combine(self, collection: str, filter: str | None) -> str:
        """Combine a caller's filter with the required one.

        Raises:
            UsageError: It is no filter of Roost's, or the collection is another one.
        """
        if collection != self.collection:
            raise UsageError(
                f"collection {collection!r} cannot be read here: ROOST_SEARCH__REQUIRED_FILTER is set, and this store "
                f"was opened for {self.collection!r}"
            )
        return both(self.required, parse_where(filter or "", self.fields).text)

    def combine_ids(self, collection: str, filter: str | None, ids: Any) -> str:
        """Do the same for a filter or for ids, whichever is given."""
        if ids is None:
            return self.combine(collection, filter)
        keys = ids if isinstance(ids, list | tuple) else [ids]
        return both(self.combine(collection, filter), one_of("id", map(str, keys)))

    def combine_requests(self, collection: str, requests: Iterable[AnnSearchRequest]) -> list[AnnSearchRequest]:
        """Do the same for each search of a hybrid search."""
        return [
            AnnSearchRequest(one.data, one.anns_field, one.param, one.limit, self.combine(collection, one.expr))
            for one in requests
        ]


class _RestrictedReads:
    """The reads of a client with a restriction: those of an async client give awaitables, as its own do."""

    restriction: Restriction

    def search(self, collection_name: str, data: Any = None, filter: str = "", *args: Any, **kwargs: Any) -> Any:
        """Search what may be read."""
        _refuse_ids(kwargs)
        combined = self.restriction.combine(collection_name, filter)
        return super().search(collection_name, data, combined, *args, **kwargs)  # type: ignore[misc]

    def hybrid_search(self, collection_name: str, reqs: Any, *args: Any, **kwargs: Any) -> Any:
        """Search what may be read, in several ways."""
        combined = self.restriction.combine_requests(collection_name, reqs)
        return super().hybrid_search(collection_name, combined, *args, **kwargs)  # type: ignore[misc]

    def query(
        self,
        collection_name: str,
        filter: str = "",
        output_fields: Any = None,
        timeout: Any = None,
        ids: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Read what may be read."""
        combined = self.restriction.combine_ids(collection_name, filter, ids)
        return super().query(collection_name, combined, output_fields, timeout, None, *args, **kwargs)  # type: ignore[misc]

    def get(self, collection_name: str, ids: Any, output_fields: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Read rows by id."""
        return self.query(collection_name, "", output_fields or ["*"], None, ids)


class RestrictedClient(_RestrictedReads, MilvusClient):  # type: ignore[misc]
    """A client with a restriction."""

    def query_iterator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: read with `query`."""
        _refuse("query_iterator")

    def search_iterator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: search with `search`."""
        _refuse("search_iterator")


class RestrictedAsyncClient(_RestrictedReads, AsyncMilvusClient):  # type: ignore[misc]
    """The same for async code."""


class SchemaOnlyCollection(Collection):  # type: ignore[misc]
    """A collection of pymilvus' older interface, of which LangChain reads the schema only."""

    def search(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        _refuse("col.search")

    def hybrid_search(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        _refuse("col.hybrid_search")

    def query(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        _refuse("col.query")

    def query_iterator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        _refuse("col.query_iterator")

    def search_iterator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        _refuse("col.search_iterator")


def restrict(client: Any, restriction: Restriction) -> None:
    """Have a client, sync or async, read only what a restriction allows; None and repetitions do nothing."""
    if not restriction.required or client is None:
        return
    client.restriction = restriction
    client.__class__ = RestrictedClient if isinstance(client, MilvusClient) else RestrictedAsyncClient


def _refuse_ids(options: Mapping[str, Any]) -> None:
    """Refuse a search near rows by their ids: these may be rows that must not be read."""
    if options.get("ids") is not None:
        _refuse("search by ids")


def _refuse(what: str) -> NoReturn:
    raise UsageError(f"{what} cannot be used while ROOST_SEARCH__REQUIRED_FILTER is set: search, query or get instead")
