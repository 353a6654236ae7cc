"""A TCP connection to the database server of the tests that can become silent, as when a cable is cut."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from psycopg import conninfo

_POLL_SECONDS = 0.01
_CHUNK = 65_536


class SilentNetwork:
    """Forwards bytes between clients and the server, until it is told to keep either direction's to itself."""

    def __init__(self, url: str) -> None:
        parts = conninfo.conninfo_to_dict(url)
        self._target = str(Path(str(parts["host"])) / f".s.PGSQL.{parts.get('port', 5432)}")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = conninfo.make_conninfo(url, host="127.0.0.1", port=self._listener.getsockname()[1])
        self._peers: dict[socket.socket, socket.socket] = {}
        self._to_server: set[socket.socket] = set()
        self._last_words: bytes | None = None
        self._keeps_answers = self._keeps_all = self._is_over = False

    def keep_answers_to(self, words: bytes) -> None:
        """Once a client has sent ``words``, no answer reaches a client any more; what clients send arrives."""
        self._last_words = words

    def keep_all(self) -> None:
        """From now on nothing arrives, and no new connection is answered."""
        self._keeps_all = True

    def pass_all(self) -> None:
        """Let arrive what ``keep_all`` has kept back."""
        self._keeps_all = False

    def stop(self) -> None:
        """End ``run``."""
        self._is_over = True

    def run(self) -> None:
        """Forward until ``stop``."""
        with closing(self._listener):
            while not self._is_over:
                if self._keeps_all:
                    time.sleep(_POLL_SECONDS)
                    continue
                for ready in select.select([self._listener, *self._list_heard()], [], [], _POLL_SECONDS)[0]:
                    self._accept() if ready is self._listener else self._forward(ready)
        for peer in self._peers:
            peer.close()

    def _list_heard(self) -> list[socket.socket]:
        return [peer for peer in self._peers if peer in self._to_server or not self._keeps_answers]

    def _accept(self) -> None:
        client, server = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        self._peers |= {client: server, server: client}
        self._to_server.add(client)

    def _forward(self, ready: socket.socket) -> None:
        if ready not in self._peers or not (self._keeps_answers <= (ready in self._to_server)):
            return  # ended, or its answers are kept, since this round began
        peer = self._peers[ready]
        try:
            data = ready.recv(_CHUNK)
            self._keeps_answers |= self._last_words is not None and self._last_words in data
            peer.sendall(data)
        except OSError:
            data = b""
        if not data:
            for ended in (ready, peer):
                self._peers.pop(ended)
                ended.close()


@contextmanager
def run_silent_network(url: str) -> Iterator[SilentNetwork]:
    """Run the network before a server that listens on a socket of the file system."""
    network = SilentNetwork(url)
    thread = threading.Thread(target=network.run)
    thread.start()
    try:
        yield network
    finally:
        network.stop()
        thread.join()
