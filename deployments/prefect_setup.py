"""Set up a Prefect server for the deployments of prefect.yaml: work pool, secrets, automation.

Every function may be called again: it updates what an earlier call created.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.automations import Automation
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.types import SecretDict
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from roost.tasks.errors import ConfigurationError
from roost.tasks.milvus.light_import import import_pymilvus
from roost.tasks.settings import set_library_defaults

#: Name of the work pool in prefect.yaml.
POOL = "roost"
#: Concurrent runs of a new pool. Each embeds with all cores; one that waits for a writer lease occupies a slot too.
MAX_CONCURRENT_RUNS = 4
#: This variable is stored as a secret whenever it is set.
TOKEN_VARIABLE = "ROOST_MILVUS__TOKEN"  # noqa: S105  the name of a variable, not a secret
NOTIFICATION_BLOCK = "roost-notification"
AUTOMATION = "roost: something needs a look"
_MESSAGE = '{"text": {{ (event.event ~ ": " ~ event.resource.name ~ "\\n" ~ event.payload.summary) | tojson }}}'


@dataclass(frozen=True)
class ServerSetup:
    """What to create on a Prefect server in addition to the deployments.

    secrets: Names of environment variables to store as Prefect Secret blocks; every run of the pool gets them.
    runs_at_once: Maximum number of concurrent runs of the pool; None keeps the pool's own limit.
    notify: URL of a web hook for quarantined documents and lower quality, stored as a secret; empty for none.
    """

    secrets: Sequence[str] = ()
    runs_at_once: int | None = None
    notify: str = ""


def find_code() -> dict[str, str]:
    """Prepare a run: the pull step of every deployment, called before the flow is imported.

    Nothing is fetched, because the flow is imported from the installed package. The run keeps the worker's directory:
    relative paths and `.env` are looked up there.
    """
    set_library_defaults(quiet=False)
    import_pymilvus()
    return {"directory": str(Path.cwd())}


async def prepare(setup: ServerSetup) -> list[str]:
    """Create or update the work pool, the secrets and the automation.

    Returns:
        One line of text for each of them.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set, or a secret's variable is not set.
    """
    api = get_current_settings().api.url
    if not api:
        raise ConfigurationError("no Prefect server is configured: set PREFECT_API_URL, or start one with `roost up`")
    names = list(dict.fromkeys([*setup.secrets, *([TOKEN_VARIABLE] if os.environ.get(TOKEN_VARIABLE) else [])]))
    for name in names:
        if not os.environ.get(name):
            raise ConfigurationError(f"{name} cannot be stored as a secret: the environment variable is not set")
    async with get_client() as client:
        secrets = {name: await _store_secret(name) for name in names}
        done = [await _create_or_update_pool(client, setup.runs_at_once, secrets)]
    done += [f"secret      {_block_name(name)}, from {name}" for name in names]
    if setup.notify:
        done.append(await _create_or_update_automation(setup.notify))
    return done


async def _create_or_update_pool(client: PrefectClient, runs_at_once: int | None, secrets: dict[str, str]) -> str:
    try:
        pool = await client.read_work_pool(POOL)
    except ObjectNotFound:
        limit = MAX_CONCURRENT_RUNS if runs_at_once is None else runs_at_once
        template = _with_defaults(ProcessWorker.get_default_base_job_template(), secrets)
        created = WorkPoolCreate(
            name=POOL,
            type="process",
            base_job_template=template,
            concurrency_limit=limit,
            description="Runs of Roost.",
        )
        await client.create_work_pool(created)
        return f"work pool   {POOL} created, at most {limit} concurrent runs"
    changes = WorkPoolUpdate(
        base_job_template=_with_defaults(pool.base_job_template, secrets),
        concurrency_limit=pool.concurrency_limit if runs_at_once is None else runs_at_once,
    )
    await client.update_work_pool(POOL, changes)
    limit_text = f"at most {changes.concurrency_limit}" if changes.concurrency_limit else "any number of"
    return f"work pool   {POOL} updated, {limit_text} concurrent runs"


def _with_defaults(template: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """Add defaults to a pool's job template: environment variables, and the worker's own directory for every run."""
    template = deepcopy(template)
    variables = template["variables"]["properties"]
    variables["env"]["default"] = {**(variables["env"].get("default") or {}), **env}
    # Of process pools only. Prefect's default, None, is a temporary directory: ./roost.db would vanish with it.
    if "working_dir" in variables and not variables["working_dir"].get("default"):
        variables["working_dir"]["default"] = "."
    return template


async def _store_secret(name: str) -> str:
    """Store a variable's value in a Secret block; returns the reference to it for a job template."""
    await Secret(value=os.environ[name]).save(_block_name(name), overwrite=True)
    return f"{{{{ prefect.blocks.secret.{_block_name(name)} }}}}"


def _block_name(variable: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", variable.lower()).strip("-")


async def _create_or_update_automation(url: str) -> str:
    """Post events that need attention to a web hook as `{"text": …}`, which Slack, Mattermost and others accept.

    The URL is a secret, because everyone who knows it can post. The Webhook block stores it encrypted and masked, and
    its errors do not contain it; those of Prefect's notification blocks do.
    """
    headers = SecretDict({"Content-Type": "application/json"})
    block_id = await Webhook(url=SecretStr(url), headers=headers).save(NOTIFICATION_BLOCK, overwrite=True)
    trigger = EventTrigger(
        expect={"roost.documents.quarantined", "roost.quality.dropped"},
        match={"prefect.resource.id": "roost.index.*"},
        posture=Posture.Reactive,
        threshold=1,
    )
    automation = Automation(
        name=AUTOMATION,
        description="Notifies the web hook of quarantined documents and of lower retrieval quality.",
        trigger=trigger,
        actions=[CallWebhook(block_document_id=block_id, payload=_MESSAGE)],
    )
    try:
        old = await Automation.aread(name=AUTOMATION)
        automation.id = old.id
        await automation.aupdate()
    except ValueError:
        await automation.acreate()
    return f"automation  {AUTOMATION}"
