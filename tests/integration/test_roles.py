"""Authentication on: Roost's own user needs named privileges only, and a reader can search and write nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from roost.deployments.local.servers import milvus_standalone
from roost.deployments.milvus_roles import PRIVILEGES, READER, WRITER, make_roles
from roost.flows.ingest import ingest as ingest_flow
from roost.flows.operations.archive import export_index
from roost.flows.operations.removal import delete_index, forget_source
from roost.flows.operations.search import search_index
from roost.flows.operations.status import describe_indexes
from roost.flows.operations.versions import list_versions, promote_version, prune, roll_back
from roost.flows.parameters import IngestRequest, RebuildRequest, VerifyRequest
from roost.flows.rebuild import rebuild as rebuild_flow
from roost.flows.running.run import run_flow
from roost.flows.verify import verify as verify_flow
from roost.tasks.errors import StoreError
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.error_mapping import missing_privilege
from roost.tasks.settings import Milvus, load_settings
from roost.tasks.sources.source import Source

pytestmark = pytest.mark.long

ADMIN = "root:of-the-administrator"
As = Callable[[str], None]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A real Milvus with authentication on: its URI, and the tokens of the users of both roles."""
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")
    with milvus_standalone(tmp_path_factory.mktemp("guarded"), password=ADMIN.partition(":")[2]) as server:
        yield server.uri, dict(make_roles(Milvus(uri=server.uri, token=ADMIN)))


@pytest.fixture
def be(guarded: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> As:
    """Be the user of a role from now on."""
    uri, tokens = guarded
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    return lambda role: monkeypatch.setenv("ROOST_MILVUS__TOKEN", tokens[role])


def ingest(index: str, source: Path) -> str:
    state, _ = run_flow(ingest_flow, IngestRequest(sources=[Source(uri=str(source))], index=index))
    return state


def use_everything(index: str, source: Path) -> list[Any]:
    """Do to an index what Roost can do: gives the states of the runs."""
    runs = [ingest(index, source)]
    (source / "a.md").write_text("# Ferry\n\nThe ferry leaves at dusk.\n")
    (source / "b.md").unlink()
    runs.append(ingest(index, source))
    runs.append(run_flow(verify_flow, VerifyRequest(index=index, repair=True))[0])
    runs.append(run_flow(rebuild_flow, RebuildRequest(index=index, chunk_size=48, promote=False))[0])
    live = asyncio.run(promote_version(index, "", force=False)).live
    asyncio.run(roll_back(index))
    asyncio.run(promote_version(index, live, force=False))
    assert len(asyncio.run(prune(index, 0, dry_run=False)).dropped) == 1
    [hits] = asyncio.run(search_index(index, ["When does the ferry leave?"], 1))
    assert "dusk" in hits[0].text
    assert len(asyncio.run(list_versions(index)).versions) == len(asyncio.run(describe_indexes(index)).indexes) == 1
    asyncio.run(export_index(index, "", source.parent / "exported"))
    asyncio.run(forget_source(source.name, index))
    asyncio.run(delete_index(index))
    return runs


def files() -> dict[str, str]:
    return {f"{name}.md": f"# {name}\n\nThe {name} keeps its place.\n" for name in "abcdefgh"}


def test_the_user_of_roosts_own_role_can_do_all_that_roost_does(prefect_api, be, folder, index):
    be(WRITER)
    assert use_everything(index, folder(**files())) == ["Completed"] * 4


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The privilege for whose lack the server refuses a call."""
    with pytest.raises(Exception, match="permission deny") as caught:
        call(*arguments, **options)
    return missing_privilege(caught.value)


def test_a_reader_searches_and_the_server_refuses_all_that_it_would_write(prefect_api, be, folder, index):
    source = folder(**files())
    be(WRITER)
    ingest(index, source)
    [version] = asyncio.run(list_versions(index)).versions
    be(READER)
    [hits] = asyncio.run(search_index(index, ["What keeps its place?"], 3))
    assert len(hits) == 3
    assert asyncio.run(describe_indexes(index)).indexes[0].documents.indexed == 8
    name = version.version
    with closing(MilvusClient(**connection_options(load_settings().milvus))) as client:
        [ledger] = {each for each in client.list_collections() if each.startswith(name)} - {name}
        row = client.query(name, filter='id != ""', output_fields=["*"], limit=1)[0]
        assert refused(client.insert, name, [row]) == "Insert"
        assert refused(client.upsert, name, [row]) in ("Upsert", "Insert")
        assert refused(client.delete, name, filter='id != ""') == "Delete"
        assert refused(client.delete, ledger, filter='doc_id != ""') == "Delete"
        assert refused(client.drop_collection, name) == "DropCollection"
        assert refused(client.create_collection, "mine", dimension=4) == "CreateCollection"
        assert refused(client.alter_collection_properties, name, {"roost.fusion": "x"}) == "CreateCollection"
        assert refused(client.release_collection, name) == "Release"
        assert refused(client.drop_alias, index) == "DropAlias"
        assert refused(client.create_alias, name, "other") == "CreateAlias"
        assert refused(client.update_password, "root", "a-guess", "a-new-one") == "UpdateUser"
        assert refused(client.grant_role, READER, "admin") == "ManageOwnership"
        client.alter_alias(name, index)  # Milvus 2.3.5 guards this by nothing; later ones by CreateAlias
    lacks = (
        rf"^Milvus at {load_settings().milvus.uri} refuses: the user of ROOST_MILVUS__TOKEN lacks the privilege \w+; "
    )
    (source / "i.md").write_text("# New\n")
    for write in (lambda: ingest(index, source), lambda: asyncio.run(forget_source("docs", index))):
        with pytest.raises(StoreError, match=lacks) as caught:
            write()
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(StoreError, match=lacks):
        asyncio.run(delete_index(index))
    be(WRITER)
    assert asyncio.run(describe_indexes(index)).indexes[0].documents.indexed == 8


def test_roosts_own_user_administers_nothing(be, guarded):
    be(WRITER)
    with closing(MilvusClient(**connection_options(load_settings().milvus))) as client:
        assert refused(client.create_user, "another", "a-password")
        assert refused(client.create_role, "another")
        assert refused(client.grant_role, WRITER, "admin")
        assert refused(client.create_database, "another")


def test_roles_that_exist_are_made_again_without_new_passwords_and_for_an_administrator_only(guarded):
    uri, tokens = guarded
    assert dict(make_roles(Milvus(uri=uri, token=ADMIN))) == dict.fromkeys(PRIVILEGES, "")
    assert set(tokens) == set(PRIVILEGES)
    with pytest.raises(StoreError, match="lacks the privilege"):
        list(make_roles(Milvus(uri=uri, token=tokens[WRITER])))
    with pytest.raises(StoreError, match="refuses the token: set ROOST_MILVUS__TOKEN"):
        list(make_roles(Milvus(uri=uri, token="root:a-guess")))
