"""Roles of a Milvus server: one for Roost itself, one that can search and write nothing.

    python -m roost.deployments.milvus_roles

It makes the roles and a user for each in the database of the settings, with generated passwords that are printed once.
`ROOST_MILVUS__TOKEN` must be of an administrator. It may be repeated: what exists stays.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import closing

import click
from pymilvus import MilvusClient

from roost.deployments.local.access import generate_auth
from roost.tasks.errors import ConfigurationError, RoostError
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.error_mapping import mapped_errors
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus, load_settings

#: Names of the roles, and of the user of each.
READER, WRITER = "roost_reader", "roost_writer"
_READ = {
    "Global": ("DescribeCollection", "ListAliases", "ShowCollections"),
    "Collection": ("GetLoadState", "IndexDetail", "Load", "Query", "Search"),
}
_WRITE = {
    "Global": ("CreateAlias", "CreateCollection", "DescribeAlias", "DropAlias", "DropCollection"),
    "Collection": ("CreateIndex", "Delete", "Flush", "GetFlushState", "Upsert"),
}
#: Role -> kind of object -> privileges. `CreateCollection` is also that of changing a collection's properties, and
#: `CreateAlias` that of moving an alias. Milvus grants `DescribeCollection`, `ShowCollections` and `IndexDetail` to all
#: users, unless an administrator has taken them away.
PRIVILEGES = {READER: _READ, WRITER: {kind: _READ[kind] + _WRITE[kind] for kind in _READ}}


def make_role(client: MilvusClient, role: str, database: str = "") -> None:
    """Make a role, if it is missing, and grant it what it lacks of its privileges on all collections of a database.

    Args:
        client: A connection of an administrator.
        role: `READER` or `WRITER`.
        database: Name of the database; empty for the server's default.
    """
    if role not in client.list_roles():
        client.create_role(role)
    for kind, names in PRIVILEGES[role].items():
        for name in names:
            client.grant_privilege(role, kind, name, "*", db_name=database)


def make_user(client: MilvusClient, role: str) -> str:
    """Make the user of a role, if it is missing; gives its token, or nothing for a user that exists."""
    if role in client.list_users():
        client.grant_role(role, role)
        return ""
    token = generate_auth(role)
    client.create_user(role, token.partition(":")[2])
    client.grant_role(role, role)
    return token


def make_roles(settings: Milvus) -> Iterator[tuple[str, str]]:
    """Make both roles and their users: gives each role with the token of its user, empty for a user that existed.

    Raises:
        ConfigurationError: Milvus Lite has no users.
        StoreError: Milvus refuses, for one because the token is not an administrator's.
        TransientError: Nothing answers at the URI.
    """
    if settings.is_lite:
        raise ConfigurationError(f"ROOST_MILVUS__URI={settings.uri} is a file of Milvus Lite, which has no users")
    asyncio.run(_connect(settings))
    with mapped_errors(settings.uri), closing(MilvusClient(**connection_options(settings))) as client:
        for role in PRIVILEGES:
            make_role(client, role, settings.database)
            yield role, make_user(client, role)


async def _connect(settings: Milvus) -> None:
    """Open a connection as all commands do, so that what is wrong with the settings is said as they say it."""
    async with open_store(settings):
        pass


def main() -> int:
    """Make the roles and print the tokens of new users, once; return the exit code."""
    try:
        for role, token in make_roles(load_settings().milvus):
            click.echo(f"ROOST_MILVUS__TOKEN={token}" if token else f"# {role}: has its password already")
    except RoostError as error:
        click.echo(f"roost: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
