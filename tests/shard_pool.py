"""A work pool with the deployment `shard` of `prefect.yaml` in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PREFECT_YAML = Path(__file__).resolve().parent.parent / "prefect.yaml"


def deploy_shard(client: Any, pool: str) -> str:
    """Make a pool of processes and the deployment.

    Args:
        client: Prefect's synchronous client.
        pool: Name of the pool, and of the deployment.

    Returns:
        The deployment's name, as `ROOST_SCALE__DEPLOYMENT` wants it.
    """
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
    file = yaml.safe_load(PREFECT_YAML.read_text())
    [wanted] = [each for each in file["deployments"] if each["name"] == "shard"]
    flow_id = client.create_flow_from_name("shard")
    client.create_deployment(
        flow_id, pool, entrypoint=wanted["entrypoint"], pull_steps=file["pull"], work_pool_name=pool
    )
    return f"shard/{pool}"
