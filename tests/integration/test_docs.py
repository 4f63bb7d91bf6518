"""The snippets of docs/using-the-index.md, run as they stand."""

from __future__ import annotations

import ast
import asyncio
import gc
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import pytest
from tests.conftest import ROOT
from tests.stub_llm import stub_llm

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus
from roost.tasks.versions.live_version import require_live_version

PAGE = (ROOT / "docs" / "using-the-index.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def named_handbook(lite_handbook: tuple[str, str]) -> Iterator[str]:
    """The handbook's index under the name that the page gives it: the URI."""
    uri, index = lite_handbook

    async def create_alias() -> None:
        async with open_store(Milvus(uri=uri)) as store:
            await store.create_alias("handbook", (await require_live_version(store, index)).name)

    async def drop_alias() -> None:
        async with open_store(Milvus(uri=uri)) as store:
            await store.drop_alias("handbook")

    asyncio.run(create_alias())
    yield uri
    asyncio.run(drop_alias())


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")  # OpenAI's client leaves its own open
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_of_the_page_runs_as_it_stands(
    snippet: str, named_handbook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", named_handbook)
    printed = StringIO()
    with stub_llm() as llm, redirect_stdout(printed):
        monkeypatch.setenv("OPENAI_API_BASE", llm.uri)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        llm.turns = ["whole"]
        exec(compile(snippet, "docs/using-the-index.md", "exec"), {"__name__": "snippet"})
        gc.collect()
    if "print(" in snippet:
        assert printed.getvalue().strip()
    if "OpenAI(" in snippet:
        assert llm.reply in printed.getvalue()
        assert len(llm.asked) == 2


def recorded_faults() -> list[str]:
    """What the tests marked `fault` name."""
    tree = ast.parse((ROOT / "tests" / "integration" / "test_framework_writes.py").read_text("utf-8"))
    marks = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.fault")
    ]
    return [ast.literal_eval(words) for mark in marks for words in mark.args]


def test_the_page_names_every_fault_that_a_test_records_and_no_other() -> None:
    table = PAGE.partition("## Known faults")[2].partition("\n## ")[0]
    said = [line.split(" | ")[1] for line in table.splitlines() if line.startswith("| ")][1:]
    recorded = recorded_faults()
    assert recorded
    assert [fault for fault in recorded if not any(row.startswith(fault) for row in said)] == []
    assert [row for row in said if not any(row.startswith(fault) for fault in recorded)] == []
    assert len(SNIPPETS) >= 9
