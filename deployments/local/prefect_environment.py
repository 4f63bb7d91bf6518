"""Environment variables of the Prefect servers that Roost starts."""

from __future__ import annotations

from roost.deployments.local.server_process import HOST


def server_environment(port: int, auth: str = "") -> dict[str, str]:
    """Make the variables of a server: without telemetry, for its own web pages only, recording task runs in batches.

    Args:
        port: Port on 127.0.0.1 at which it listens.
        auth: `user:password` that the API and the UI require, and CSRF tokens with it; empty for none.
    """
    variables = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # A task run costs the server 27 ms without these two, 7.5 ms with them.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # In memory, the default, the concurrency slot of a deployment's run would be lost at a restart of the server.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",  # the default is port 4200
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port},http://localhost:{port}",
    }
    if auth:
        variables |= {"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true"}
    return variables
