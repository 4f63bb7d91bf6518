"""What Prefect does on the event loop when a flow and its first tasks are called, made quicker.

It imports modules, which would block the loop for 0.1 s. Each of its clients, five in a run, reads all certificates of
certifi, 25 to 65 ms each, also for an address without TLS: here all clients of a process share one TLS context. A
client only reads it. The modules of flows import this one before there is a loop.
"""

import ssl
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import prefect.client.orchestration
import prefect.flow_engine
import prefect.task_engine
import prefect.utilities.visualization
from fastapi.encoders import jsonable_encoder as _encoder  # noqa: F401  not `import fastapi.encoders`: see light_prefect

#: Stands for the module `ssl` in Prefect's client, which uses no other names of it in 3.8; a test says when it does not
#: use this one any more.
shared_tls: Any = SimpleNamespace(
    SSLContext=ssl.SSLContext,
    CERT_NONE=ssl.CERT_NONE,
    create_default_context=lru_cache(maxsize=4)(ssl.create_default_context),
)
setattr(prefect.client.orchestration, "ssl", shared_tls)  # noqa: B010  mypy knows no such attribute there
with suppress(OSError, ValueError):  # PREFECT_API_SSL_CERT_FILE is wrong: the first call of Prefect says so
    prefect.client.orchestration.PrefectClient("http://127.0.0.1:4200/api")  # makes the shared context; is not used
