"""What may be deleted, by whose word: an emptied source, excluded documents, a forgotten source, a deleted index."""

from __future__ import annotations

import asyncio
import json

import pytest

from roost.cli.main import run
from roost.cli.output.show_ingest import show_plan, show_report
from roost.flows.operations.removal import delete_index
from roost.flows.operations.status import describe_indexes
from roost.flows.operations.versions import list_versions
from roost.tasks.errors import ConflictError, SourceError, StoreError, UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import load_settings
from roost.tasks.sources.source import Source
from roost.tasks.steps.deletions import SourceDeletions
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.live_version import require_live_version


def notes(*names: str) -> dict[str, str]:
    return {f"{name}.md": f"# {name}\n\nThe note {name}." for name in names}


def test_a_mount_that_goes_empty_is_refused_by_name_and_done_when_it_is_allowed(lite, ingest, folder, stored, capsys):
    docs, mount = folder("docs", **notes("one", "two", "three")), folder("mount", **notes("four", "five"))
    ingest(docs, mount)
    for file in mount.iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="source 'mount' lists no documents, the index has 2 of it") as refused:
        ingest(docs, mount, max_delete_fraction=1.0)
    _, plan = ingest(docs, mount, dry_run=True)
    assert plan.would_refuse == str(refused.value).splitlines()[0]
    assert plan.deletions == (SourceDeletions("mount", ("five.md", "four.md")),)
    assert plan.as_dict()["deletions"] == [{"source": "mount", "documents": ("five.md", "four.md")}]
    show_plan(plan)
    assert "would delete 2 documents of source 'mount'\n  mount/five.md\n  mount/four.md" in capsys.readouterr().out
    assert stored()[2].height == 5
    state, report = ingest(docs, mount, allow_deletions=["mount"])
    assert (state, report.deleted_by_source, report.empty_sources) == ("Completed", {"mount": 2}, ("mount",))
    assert set(stored()[2]["source"]) == {"docs"}
    show_report(report)
    assert "warning: Source 'mount' contains no document" in capsys.readouterr().out


def test_documents_that_a_run_excludes_stay_are_told_and_go_when_asked(lite, ingest, folder, stored, capsys):
    place = folder(**notes("one", "two", "drafts/three"))
    ingest(place)
    source = Source(uri=str(place), exclude=["drafts/**"])
    _, report = ingest(source)
    assert (report.documents.deleted, report.not_chosen, stored()[2].height) == (0, {"docs": 1}, 3)
    show_report(report)
    assert "1 documents are no longer chosen by globs, include and exclude (docs: 1)" in capsys.readouterr().out
    _, report = ingest(source, delete_excluded=True)
    assert (report.deleted_by_source, report.not_chosen) == ({"docs": 1}, {})
    assert set(stored()[2]["uri"]) == {"one.md", "two.md"}


def test_a_new_source_whose_glob_matches_nothing_is_refused_and_an_empty_folder_is_told(lite, ingest, folder, capsys):
    place = folder(**notes("one"))
    for dry_run in (True, False):
        with pytest.raises(SourceError, match=r"source 'docs': no document matches .*/docs/\*\.mdd: correct the glob"):
            ingest(place / "*.mdd", dry_run=dry_run)
    with pytest.raises(SourceError, match=r"and include \*\.txt: correct the glob"):
        ingest(Source(uri=str(place), include=["*.txt"]))
    assert asyncio.run(describe_indexes(None)).indexes == ()
    ingest(place)
    (empty := place.parent / "empty").mkdir()
    state, report = ingest(place / "*.mdd", empty)
    assert (state, report.empty_sources, report.not_chosen) == ("Completed", ("docs", "empty"), {"docs": 1})


def test_an_empty_file_is_skipped_and_one_that_was_quarantined_leaves_the_quarantine(lite, ingest, folder, stored):
    source = folder(**notes("one"), **{"blank.txt": " "})
    assert ingest(source)[0] == "Partial"
    (source / "blank.txt").write_text("")
    state, report = ingest(source)
    assert (state, report.documents.skipped, report.documents.quarantined) == ("Completed", 1, 0)
    assert stored()[2]["uri"].to_list() == ["one.md"]


def test_forgetting_a_source_and_deleting_an_index_leave_nothing_of_it(
    lite, ingest, folder, stored, index, capsys, monkeypatch
):
    ingest(folder("docs", **notes("one", "two")), folder("mount", **notes("three")))
    with pytest.raises(UsageError, match=r"would delete source .mount. with 1 documents, 1 chunks; .*--yes"):
        run(["forget", "mount", "--index", index])
    with pytest.raises(UsageError, match=r"has no source 'mist'; its sources: docs, mount"):
        run(["forget", "mist", "--index", index, "--yes"])
    capsys.readouterr()
    assert run(["forget", "mount", "--index", index, "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["documents"], told["chunks"], told["deleted"]) == (1, 1, True)
    assert set(stored()[0]["uri"]) == {"one.md", "two.md"}
    version, ledger, _ = asyncio.run(_collections(index))
    assert asyncio.run(_places(index)) == ({"docs"}, {"docs"})

    with pytest.raises(UsageError, match=rf"with 1 versions \({version}\), 2 documents, 2 chunks; .*--yes"):
        run(["delete", index])
    with monkeypatch.context() as broken:
        broken.setattr(Store, "drop_collection", _fail)
        with pytest.raises(StoreError, match="away"):
            run(["delete", index, "--yes"])
    assert run(["delete", index, "--yes", "--json"]) == 0  # goes on where the first one was cut off
    assert json.loads(capsys.readouterr().out)["dropped"] == [version, ledger]
    assert asyncio.run(_collections(index)) == []
    with pytest.raises(UsageError, match=f"no index '{index}'"):
        run(["delete", index, "--yes"])
    assert asyncio.run(list_versions(None)).versions == ()


def test_an_index_that_a_run_writes_is_neither_deleted_nor_changed(
    standalone, ingest, folder, stored, index, monkeypatch
):
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    ingest(folder(**notes("one")))

    async def attack() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            async with acquire_lease(store, version, LeaseOwner("run 'nightly'")):
                with pytest.raises(ConflictError, match="is being written by run 'nightly'"):
                    await delete_index(index)

    asyncio.run(attack())
    assert stored()[2].height == 1
    assert run(["delete", index, "--yes"]) == 0
    assert asyncio.run(_collections(index)) == []


async def _fail(*_: object) -> None:
    raise StoreError("away")


async def _collections(index: str) -> list[str]:
    async with open_store(load_settings().milvus) as store:
        aliases = [alias] if (alias := await store.read_alias(index)) else []
        return [name for name in await store.list_collections() if name.startswith(index)] + aliases


async def _places(index: str) -> tuple[set[str], set[str]]:
    async with open_store(load_settings().milvus) as store:
        version = await require_live_version(store, index)
        return set(version.places), set(version.given)
