"""Local servers without starting any: what a port that is taken is answered with."""

from __future__ import annotations

import socket

import pytest

from roost.deployments.local.server_process import StackError, choose_port


@pytest.mark.parametrize(
    ("server", "option"),
    [("prefect-server", "--prefect-port"), ("milvus-standalone", "--milvus-port"), ("milvus-lite", "--milvus-port")],
)
def test_a_port_that_is_taken_names_its_option(server: str, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is taken: .*, or choose another one with {option}"):
            choose_port(server, port)
