"""prefect.yaml, the compose file, the image and the Kubernetes files, checked without running them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest
import yaml
from docker.utils.build import exclude_paths
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.templating import apply_values
from tests.conftest import ROOT

from roost.tasks.packaged_files import resolve_packaged

FILES = ROOT / "deployments"
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
COMPOSE = yaml.safe_load((FILES / "docker" / "compose.yaml").read_text())
RELEASE = "1.32"  # of Kubernetes


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_names_a_flow_that_exists_and_parameters_that_it_takes(deployment):
    module, _, flow = deployment["entrypoint"].rpartition(".")
    assert deployment["name"] == flow == getattr(import_module(module), flow).name
    assert {"description", "tags", "work_pool"} <= set(deployment)
    if "parameters" not in deployment:  # a part of another run, which gives it them
        return
    import roost.flows.parameters

    request = getattr(roost.flows.parameters, f"{flow.capitalize()}Request")
    given = [deployment["parameters"], *(each.get("parameters") for each in deployment.get("schedules", []))]
    for parameters in filter(None, given):
        request.model_validate(parameters["request"])
    for schedule in deployment.get("schedules", []):
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert not schedule["active"]  # the handbook is an example: nobody asked to index it every night


def test_only_evaluations_run_one_at_a_time_so_that_no_index_blocks_the_ingest_of_another():
    assert [each["name"] for each in DEPLOYMENTS if "concurrency_limit" in each] == ["evaluation"]


def test_no_tag_of_a_deployment_names_a_schedule_because_ad_hoc_runs_carry_the_tags_too():
    assert {tag for each in DEPLOYMENTS for tag in each["tags"]} == {"roost"}


def test_the_example_sources_and_questions_of_the_deployments_are_installed_files():
    def strings(value):
        if isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                yield from strings(each)
        elif isinstance(value, str):
            yield value

    uris = {text for text in strings(DEPLOYMENTS) if "examples" in text}
    assert uris == {"roost://examples/handbook", "roost://examples/questions"}
    assert all(Path(resolve_packaged(uri)).is_dir() for uri in uris)


def test_the_image_is_built_from_the_root_and_finds_everything_it_copies():
    build = COMPOSE["x-roost"]["build"]
    context = FILES / "docker" / build["context"]
    assert context.resolve() == ROOT
    dockerfile = (context / build["dockerfile"]).read_text()
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY")]
    assert {name for names in copied for name in names} >= {"src", "flows", "tasks", "deployments", "setup.py"}
    assert [name for names in copied for name in names if not (context / name).exists()] == []


def test_secrets_and_data_never_reach_the_build_context(tmp_path):
    """By docker-py's reading of .dockerignore: the compose page puts passwords into deployments/docker/.env."""
    unwanted = [".env", "deployments/docker/.env", "src/roost/.env", "roost.db", "tasks/notes.db", "examples/a/b.db"]
    unwanted += ["roost-data/prefect/prefect.db", "deployments/roost-data/worker/log", "flows/__pycache__/x.pyc"]
    wanted = ["src/roost/py.typed", "tasks/settings.py", "examples/handbook/visitors/faq.csv", "prefect.yaml"]
    for name in unwanted + wanted:
        (file := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    sent = exclude_paths(str(tmp_path), patterns)
    assert [name for name in unwanted if name in sent] == []
    assert [name for name in wanted if name not in sent] == []


def test_compose_is_valid_by_the_compose_specification():
    carrier = pytest.importorskip("check_jsonschema", reason="the schema is in the extra `dev`")
    schema = Path(carrier.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_the_workflow_for_other_versions_of_milvus_is_valid_by_the_schema_of_workflows():
    carrier = pytest.importorskip("check_jsonschema", reason="the schema is in the extra `dev`")
    schema = Path(carrier.__file__).parent / "builtin_schemas" / "vendor" / "github-workflows.json"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "milvus.yml").read_text())
    jsonschema.validate(
        {"on" if key is True else key: value for key, value in workflow.items()}, json.loads(schema.read_text())
    )
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["milvus"]
    assert [version.rpartition(".")[0] for version in versions] == ["v2.5", "v2.6"]
    assert COMPOSE["services"]["milvus"]["image"].rpartition(":")[2] in versions


def test_compose_is_what_docker_compose_reads():
    probe = ["docker", "compose", "version"]
    if not shutil.which("docker") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no docker compose here")
    env = {"POSTGRES_PASSWORD": "x", "PREFECT_AUTH": "a:b", "MILVUS_PASSWORD": "y", "PATH": "/usr/bin:/usr/local/bin"}
    done = subprocess.run(
        ["docker", "compose", "-f", FILES / "docker" / "compose.yaml", "config", "--quiet"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_opens_ports_on_this_machine_only_and_holds_no_password():
    services = COMPOSE["services"]
    assert set(services) == {"milvus", "postgres", "prefect", "worker"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert set(service.get("depends_on", {})) <= set(services)
        assert all("healthcheck" in services[name] for name in service.get("depends_on", {}))
        volumes = {
            volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith(("$", ".", "/"))
        }
        assert volumes <= set(COMPOSE["volumes"])
        secret = {name: value for name, value in service.get("environment", {}).items() if "PASSWORD" in name}
        assert all(value.startswith("${") for value in secret.values())
    assert services["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"].startswith("${PREFECT_AUTH:?")


def test_compose_limits_what_a_container_can_take_and_do_and_pins_its_image():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in COMPOSE["services"].items():
        assert service["init"], name  # orphans of parsing processes are collected
        assert "mem_limit" in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.fullmatch(r"[\w/]+:v?\d+(\.\d+)+(@sha256:\w+)?", service["image"]), name
        if name != "milvus":  # its image is made for root
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        if service["image"].startswith("roost"):
            assert service["image"] == f"roost:{version}"
            assert {"/tmp", "/home/roost"} <= set(service["volumes"])
    assert COMPOSE["services"]["postgres"]["user"] == "postgres"
    assert "\nUSER roost\n" in (FILES / "docker" / "Dockerfile").read_text()
    milvus, prefect = COMPOSE["services"]["milvus"]["environment"], COMPOSE["services"]["prefect"]["environment"]
    assert milvus["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert milvus["COMMON_SECURITY_DEFAULTROOTPASSWORD"].startswith("${MILVUS_PASSWORD:?")
    assert "*" not in prefect["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    assert prefect["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    base = next(line for line in (FILES / "docker" / "Dockerfile").read_text().splitlines() if line.startswith("FROM"))
    assert re.fullmatch(r"FROM python:\d+\.\d+\.\d+-slim-\w+(@sha256:\w+)?", base)


def check_pod(pod):
    """A pod has no more rights than it needs: no root, no new privileges, a read-only image, limits."""
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    writable = {volume["name"] for volume in pod["volumes"] if volume["emptyDir"] == {}}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        mounts = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in writable}
        assert mounts == {"/home/roost", "/tmp"}
        assert not container["image"].endswith(":latest")


def test_the_kubernetes_worker_is_valid_to_the_last_field():
    validator = pytest.importorskip("kubernetes_validate", reason="the schemas are in the extra `dev`")
    kinds = []
    for document in yaml.safe_load_all((FILES / "kubernetes" / "worker.yaml").read_text()):
        validator.validate(document, RELEASE, strict=True)
        kinds.append(document["kind"])
        if document["kind"] == "Deployment":
            check_pod(document["spec"]["template"]["spec"])
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "Deployment"]


def test_the_kubernetes_job_is_valid_once_its_template_is_filled():
    validator = pytest.importorskip("kubernetes_validate", reason="the schemas are in the extra `dev`")
    template = json.loads((FILES / "kubernetes" / "job-template.json").read_text())
    WorkPoolCreate(name="roost", type="kubernetes", base_job_template=template)
    properties = template["variables"]["properties"]
    values = {name: each["default"] for name, each in properties.items() if "default" in each}
    filled = {"command": ["prefect", "flow-run", "execute"], "env": [{"name": "A", "value": "b"}]}
    job = apply_values(template["job_configuration"]["job_manifest"], values | filled)
    assert "{{" not in json.dumps(job)
    pod = job["spec"]["template"]["spec"]
    # Prefect's worker demands these two where no pod has them; a server drops them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    validator.validate(job, RELEASE, strict=True)
    check_pod(pod)
    assert pod["automountServiceAccountToken"] is False  # a run has no business with the cluster's API
    assert pod["shareProcessNamespace"]  # orphans of parsing processes are collected
