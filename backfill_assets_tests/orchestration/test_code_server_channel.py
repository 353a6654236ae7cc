"""A connection to a code server has the time-out by which it ends when the server's host is gone."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psutil
from dagster._grpc.client import DagsterGrpcClient

from backfill_assets.orchestration.dagster_internals.code_server_channel import (
    ACKNOWLEDGED_WITHIN_MS,
    limit_silence_of_code_servers,
)


def list_time_outs(port: int) -> set[int]:
    """How long data may stay unacknowledged (ms) on this process's connections to a port."""
    time_outs = set()
    for connection in psutil.Process().net_connections("tcp"):
        if connection.raddr and connection.raddr.port == port:
            with socket.socket(fileno=os.dup(connection.fd)) as copied:
                time_outs.add(copied.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    return time_outs


def test_connections_to_code_servers_limit_unacknowledged_data(monkeypatch: Any) -> None:
    monkeypatch.setattr(DagsterGrpcClient, "_channel", DagsterGrpcClient._channel)  # puts it back afterwards
    limit_silence_of_code_servers()
    with ThreadPoolExecutor(1) as executor:
        server = grpc.server(executor)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with DagsterGrpcClient(host="127.0.0.1", port=port)._channel() as channel:
            grpc.channel_ready_future(channel).result(60)
            assert list_time_outs(port) == {ACKNOWLEDGED_WITHIN_MS}
        server.stop(None).wait()
