"""A command that has a kept server: `python kept_client.py IDLE_MINUTES STAND_IN`. It ends when its input ends.

STAND_IN is 1 for a server with an application in place of Prefect's, which answers as far as commands look at it.
"""

import os
import sys

from roost.deployments.local import prefect_start
from roost.deployments.local.command_prefect import command_prefect

#: The program of the server, with a small application; START_DELAY_S delays it as Prefect's imports would.
STAND_IN = """
import os, time
from base64 import b64encode
from roost.deployments.local import prefect_child

def make_app():
    time.sleep(float(os.environ.get("START_DELAY_S", "0")))
    auth = os.environ["PREFECT_SERVER_API_AUTH_STRING"].encode()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                await send({"type": (await receive())["type"] + ".complete"})
        given = dict(scope["headers"]).get(b"authorization", b"")
        known = scope["path"] == "/api/health" or given == b"Basic " + b64encode(auth)
        await send({"type": "http.response.start", "status": 200 if known else 401, "headers": []})
        await send({"type": "http.response.body", "body": b"true"})

    return app

prefect_child._make_app = make_app
prefect_child.main()
"""


def main() -> None:
    """Have a server, and use it until standard input ends."""
    if sys.argv[2] == "1":
        prefect_start.PROGRAM = ("-c", STAND_IN)
    with command_prefect(float(sys.argv[1]), lambda line: print(line, flush=True)) as server:
        server.wait_until_ready()
        print(f"ready {os.environ['PREFECT_API_URL']}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
