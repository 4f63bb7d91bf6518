"""`roost evaluate` as a user runs it, and what a real browser shows of it."""

from __future__ import annotations

import httpx
import pytest
from tests.conftest import ROOT, SCAN

QUESTIONS = ROOT / "examples" / "questions"


@pytest.mark.long
def test_the_command_measures_and_its_artifact_renders_in_a_real_browser(roost_here, lite, prefect, index, request):
    roost_here("ingest", ROOT / "examples" / "handbook", "--exclude", f"**/{SCAN}", "--index", index)
    roost_here("evaluate", QUESTIONS, "--index", index, "--timings", "none", "--json")
    ended = roost_here(
        "evaluate",
        QUESTIONS,
        "--index",
        index,
        "--timings",
        "tutorials",
        "--counts",
        "5",
        "--threshold",
        "nDCG@10=0.99",
        "--json",
    )
    assert ended.code == 4, ended.err
    report = ended.json
    assert 0.9 < report["quality"]["nDCG@10"]["value"] < 0.99
    assert report["missed"] == [f"nDCG@10 is {report['quality']['nDCG@10']['value']:.4f}, below the threshold 0.99"]
    wanted = {"artifacts": {"key": {"any_": [f"evaluation-{index}"]}}, "sort": "CREATED_DESC"}
    found = httpx.post(f"{prefect}/artifacts/filter", json=wanted, timeout=30).raise_for_status().json()
    assert len(found) == 2

    browser = request.getfixturevalue("browser")  # not before: with it a loop runs in this thread
    browser.page.set_viewport_size({"width": 1400, "height": 4000})
    for ui in ("", "/v2"):
        browser.page.goto(f"{prefect.removesuffix('/api')}{ui}/artifacts/artifact/{found[0]['id']}")
        for title in ("Quality", "Worst questions", "Sync and async", "Earlier evaluations", "Results"):
            browser.page.get_by_role("heading", name=title, exact=True).wait_for()
        pictures = browser.page.locator('img[src^="data:image/svg+xml"]')
        drawn = pictures.evaluate_all("images => images.map(i => [i.complete, i.naturalWidth, i.clientHeight])")
        assert [complete and width >= 600 and height >= 150 for complete, width, height in drawn] == [True, True]
        tables = browser.page.locator("table")
        rows = [tables.nth(number).locator("tbody tr").count() for number in range(tables.count())]
        assert rows == [2, 8, len(report["unknown_judgments"]), len(report["worst"][:10]), len(report["timings"]), 2]
        link = browser.page.get_by_role("link", name="ingests of this index", exact=True)
        assert link.evaluate("a => a.href") == f"{prefect.removesuffix('/api')}{ui}/artifacts/key/ingest-{index}"
        browser.picture(f"evaluation{ui.replace('/', '-')}")
