"""What Prefect imports when a flow and its first task are called, on the event loop, which it would block for 0.1 s.

The modules of flows import this one before there is a loop.
"""

import fastapi.encoders  # noqa: F401
import prefect.flow_engine
import prefect.task_engine
import prefect.utilities.visualization  # noqa: F401
