"""Connections of Dagster's daemon and webserver to a code server whose host is gone.

A host that loses its power or its network says nothing. gRPC shares one connection a server within a process, and as
long as a call waits on it, all new ones wait there as well, also those for another server of the same name. Without
what is set here, that lasts until the kernel gives the connection up, which takes a quarter of an hour.

Relies on ``DagsterGrpcClient._channel``, through which every call but the asynchronous ones of the UI goes. Dagster has
no setting for options of its channels.
Upstream: https://github.com/dagster-io/dagster/issues/33297 (open): webservers do not find the way back to a code
location that was replaced.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.utils import max_rx_bytes, max_send_bytes

ACKNOWLEDGED_WITHIN_MS = 10_000  # Dagster tries for 30 s before it shows that a code server cannot be reached
# gRPC limits the time of unacknowledged data only along with pings. Servers refuse those more often than every 5 min.
PING_INTERVAL_MS = 600_000


def limit_silence_of_code_servers() -> None:
    """Let connections to code servers end when data stay unacknowledged; idempotent, for the whole process."""
    DagsterGrpcClient._channel = _open_channel  # type: ignore[method-assign]


@contextmanager
def _open_channel(self: DagsterGrpcClient) -> Iterator[grpc.Channel]:
    """A channel as Dagster opens it, with the options for keepalive."""
    options = [
        ("grpc.max_receive_message_length", max_rx_bytes()),
        ("grpc.max_send_message_length", max_send_bytes()),
        ("grpc.keepalive_time_ms", PING_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", ACKNOWLEDGED_WITHIN_MS),
    ]
    address, compression = self._server_address, grpc.Compression.Gzip
    with (
        grpc.secure_channel(address, self._ssl_creds, options=options, compression=compression)
        if self.use_ssl
        else grpc.insecure_channel(address, options=options, compression=compression)
    ) as channel:
        yield channel
