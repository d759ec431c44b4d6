"""Between a client and PostgreSQL: it lets a COMMIT arrive and loses the answer, which looks like a crash before it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class LostCommits:
    """Forwards every connection; while `armed` is above zero, the connection that commits is cut after its commit."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.armed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                doomed = threading.Event()
                threading.Thread(target=self._forward, args=(client, server, doomed), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client, doomed), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self.armed and b"COMMIT\0" in data:
                    self.armed -= 1
                    doomed.set()
                server.sendall(data)
        server.close()

    def _answer(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        """The server's first answer after the COMMIT says that it took place; it is thrown away."""
        with suppress(OSError):
            while data := server.recv(65_536):
                if doomed.is_set():
                    break
                client.sendall(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
