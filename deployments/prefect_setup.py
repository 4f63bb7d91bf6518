"""Make what the deployments of `prefect.yaml` need on a Prefect server, then deploy them; all of it may be repeated."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from subprocess import PIPE, STDOUT, run
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

from roost.tasks.errors import ConfigurationError, RoostError
from roost.tasks.settings import set_library_defaults

#: The work pool that `prefect.yaml` names.
POOL = "roost"
#: Runs that its workers do at once: each embeds with all cores.
RUNS_AT_ONCE = 2
#: SupervisedServer as a secret whenever it is set.
TOKEN = "ROOST_MILVUS__TOKEN"  # noqa: S105  the name of one
NOTIFICATION = "roost-notification"
AUTOMATION = "roost: something needs a look"
_MESSAGE = '{"text": {{ (event.event ~ ": " ~ event.resource.name ~ "\\n" ~ event.payload.summary) | tojson }}}'
CODE = Path(str(files("roost"))) / "resources"


@dataclass(frozen=True)
class ServerSetup:
    """What a server is to get beside the deployments.

    secrets: Names of environment variables whose values every run gets, kept as Prefect Secret blocks.
    runs_at_once: Runs of the pool at once; None leaves what is there.
    notify: URL that is told of quarantined documents and of quality that dropped, kept as a secret; empty for none.
    """

    secrets: Sequence[str] = ()
    runs_at_once: int | None = None
    notify: str = ""


def find_code() -> dict[str, str]:
    """Pull step of every deployment: go where Roost is installed on this machine; nothing is fetched."""
    set_library_defaults(quiet=False)  # the flow is imported after this
    return {"directory": str(CODE)}


async def prepare(setup: ServerSetup) -> list[str]:
    """Make the work pool, the secrets and the automation, or bring them up to date; say each in a line.

    Raises:
        ConfigurationError: No server is named, or a secret is not set here.
    """
    api = get_current_settings().api.url
    if not api:
        raise ConfigurationError("no Prefect server is named: set PREFECT_API_URL, or start one with `roost up`")
    names = list(dict.fromkeys([*setup.secrets, *([TOKEN] if os.environ.get(TOKEN) else [])]))
    for name in names:
        if not os.environ.get(name):
            raise ConfigurationError(f"{name} is to be kept as a secret, but is not set here")
    async with get_client() as client:
        done = [await _make_pool(client, setup.runs_at_once, {name: await _keep(name) for name in names})]
    done += [f"secret      {_block(name)}, from {name}" for name in names]
    if setup.notify:
        done.append(await _make_automation(setup.notify))
    return done


def deploy(names: Sequence[str] = ()) -> list[str]:
    """Deploy all of `prefect.yaml`, or these: the same command as by hand; returns their names.

    Raises:
        RoostError: Prefect refused; the message holds its last words.
    """
    chosen = [word for name in names for word in ("--name", name)] or ["--all"]
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *chosen, "--prefect-file", "prefect.yaml"]
    done = run(command, cwd=CODE, stdout=PIPE, stderr=STDOUT, text=True, check=False)
    made = re.findall(r"Deployment '([^']+)' successfully created", done.stdout)
    if done.returncode or not made:
        raise RoostError("prefect deploy failed: " + " ".join(done.stdout.split())[-600:])
    return made


async def _make_pool(client: PrefectClient, runs_at_once: int | None, secrets: dict[str, str]) -> str:
    try:
        pool = await client.read_work_pool(POOL)
    except ObjectNotFound:
        template = _with_env(ProcessWorker.get_default_base_job_template(), secrets)
        limit = RUNS_AT_ONCE if runs_at_once is None else runs_at_once
        made = WorkPoolCreate(
            name=POOL, type="process", base_job_template=template, concurrency_limit=limit,
            description="Runs of Roost.",
        )  # fmt: skip
        await client.create_work_pool(made)
        return f"work pool   {POOL}, {limit} runs at once"
    changes = WorkPoolUpdate(
        base_job_template=_with_env(pool.base_job_template, secrets),
        concurrency_limit=pool.concurrency_limit if runs_at_once is None else runs_at_once,
    )
    await client.update_work_pool(POOL, changes)
    return f"work pool   {POOL}, {changes.concurrency_limit or 'any number of'} runs at once, as it was made before"


def _with_env(template: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """Give every run of a pool these variables, beside what it has."""
    template = deepcopy(template)
    variable = template["variables"]["properties"]["env"]
    variable["default"] = {**(variable.get("default") or {}), **env}
    return template


async def _keep(name: str) -> str:
    """Keep a variable's value in a Secret block; returns what stands for it in a job's template."""
    await Secret(value=os.environ[name]).save(_block(name), overwrite=True)
    return f"{{{{ prefect.blocks.secret.{_block(name)} }}}}"


def _block(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


async def _make_automation(url: str) -> str:
    """Send what needs a look to a web hook, as `{"text": …}`: Slack, Mattermost and others take that.

    Its URL is a secret, for who knows it can post. This block keeps it encrypted and masked, and its failures do not
    name it; those of Prefect's notification blocks do.
    """
    headers = SecretDict({"Content-Type": "application/json"})
    block_id = await Webhook(url=SecretStr(url), headers=headers).save(NOTIFICATION, overwrite=True)
    automation = Automation(
        name=AUTOMATION,
        description="Tells the web hook of quarantined documents and of retrieval quality that dropped.",
        trigger=EventTrigger(
            expect={"roost.documents.quarantined", "roost.quality.dropped"},
            match={"prefect.resource.id": "roost.index.*"},
            posture=Posture.Reactive, threshold=1,
        ),
        actions=[CallWebhook(block_document_id=block_id, payload=_MESSAGE)],
    )  # fmt: skip
    try:
        old = await Automation.aread(name=AUTOMATION)
        automation.id = old.id
        await automation.aupdate()
    except ValueError:
        await automation.acreate()
    return f"automation  {AUTOMATION}"
