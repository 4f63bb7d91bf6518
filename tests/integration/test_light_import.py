"""pymilvus and Prefect are imported without libraries that Roost does not use; those are there when something does."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from roost.tasks.milvus.light_import import import_for_command

def heavy():
    return sorted({"pandas", "requests", "scipy"} & {name for name, module in sys.modules.items() if module})

import_for_command(is_lite=True)
from pymilvus import CollectionSchema, DataType, FieldSchema
from pymilvus.client import global_topology
from pymilvus.client.entity_helper import entity_is_sparse_matrix
from pymilvus.orm.schema import check_is_row_based, check_insert_schema, is_list_like
import milvus_lite.db, pyarrow

key = FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=9)
fields = [key, FieldSchema("n", DataType.INT64, default_value=3), FieldSchema("v", DataType.FLOAT_VECTOR, dim=2)]
schema = CollectionSchema(fields)
assert schema.fields[1].default_value.long_data == 3
assert not entity_is_sparse_matrix([[0.1, 0.2]])
assert pyarrow.table({"a": [1]}).num_rows == 1
assert heavy() == [], heavy()

import pandas
frame = pandas.DataFrame({"id": ["a"], "n": [1], "v": [[0.1, 0.2]]})
check_insert_schema(schema, frame)
assert not check_is_row_based(frame)
assert is_list_like([1]) and not is_list_like(1)
assert "pandas" in heavy() and "requests" not in heavy()
import requests
assert issubclass(global_topology.requests.exceptions.RequestException, OSError)
assert global_topology.requests.get is requests.get
"""


def test_pymilvus_loads_pandas_and_requests_only_when_something_uses_them() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PREFECT = """
import sys
from roost.flows.running.light_prefect import import_prefect

heavy = {"fastapi", "fastapi.applications", "prefect.blocks.notifications", "prefect.blocks.webhook"}
import_prefect()
import roost.flows.ingest, prefect.blocks
assert "prefect.flows" in sys.modules and "fastapi.encoders" in sys.modules
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert not hasattr(prefect.blocks, "webhook")
from fastapi.encoders import jsonable_encoder
assert jsonable_encoder({"a": (1, 2)}) == {"a": [1, 2]}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()

from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from fastapi import FastAPI
assert SlackWebhook.get_block_type_slug() == "slack-webhook" and Webhook.get_block_type_slug() == "webhook"
assert FastAPI().title == "FastAPI"
"""


def test_prefect_loads_blocks_that_send_messages_and_fastapi_only_when_something_uses_them() -> None:
    done = subprocess.run([sys.executable, "-c", PREFECT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
