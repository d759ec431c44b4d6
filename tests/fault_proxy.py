"""An HTTP proxy in front of a real server that misbehaves on request: the server behind it stays a real one.

Signatures survive, because the Host header is passed on as the client signed it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Kind = Literal["status", "lost", "reset", "hang", "truncate", "agree", "none"]
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>by the fault proxy</Message></Error>"


@dataclass
class Fault:
    """What happens to the next `times` requests whose method, path (with query) and headers match.

    status: answered with `status` and the S3 error `code`; the server never sees it. lost: the server does it, the
    answer is dropped. reset: the connection breaks before. hang: no answer until the proxy closes. truncate: half of
    the answer's body. agree: a refused condition is answered as if it were met, as by a store that knows none.
    none: nothing happens to it.
    """

    kind: Kind
    method: str = ""
    path: str = ""
    times: int = 10**9
    status: int = 503
    code: str = "SlowDown"
    header: str = ""

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        return (
            self.times > 0
            and method.startswith(self.method)
            and self.path in path
            and (not self.header or any(name.startswith(self.header) for name in headers))
        )


@dataclass
class FaultProxy:
    """Listens on a free port of loopback and passes everything on to `upstream`, a port of loopback."""

    upstream: int
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock, self.closing = threading.Lock(), threading.Event()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, kind: Kind, **details: object) -> None:
        self.faults.append(Fault(kind, **details))  # type: ignore[arg-type]

    def calls(self, method: str, path: str = "") -> int:
        return sum(one == method and path in asked for one, asked in self.seen)

    def next_fault(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            found = next((fault for fault in self.faults if fault.matches(method, path, headers)), None)
            if found:
                found.times -= 1
            return found

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def handle_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._chunks() if "chunked" in headers.get("transfer-encoding", "") else self._body(headers)
        fault = self.proxy.next_fault(self.command, self.path, headers)
        kind = fault.kind if fault else None
        if kind == "hang":
            self.proxy.closing.wait()
        if kind in ("hang", "reset"):
            self._break()
        elif fault and kind == "status":
            self._answer(fault.status, [("Content-Type", "application/xml")], _ERROR.format(code=fault.code).encode())
        else:
            self._pass_on(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client gave up, or the connection was broken on purpose
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests look at `seen`."""

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        server = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=60)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                server.putheader(name, value)
        server.endheaders(body)
        answer = server.getresponse()
        content = answer.read()
        server.close()
        if fault and fault.kind == "lost":
            self._break()
            return
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OURS]
        if fault and fault.kind == "agree" and answer.status == 412:
            self._answer(200, kept, b"")
            return
        is_cut = fault is not None and fault.kind == "truncate"
        self._answer(answer.status, kept, content, answer.getheader("Content-Length"), is_cut)

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        length: str | None = None,
        is_cut: bool = False,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self._break()

    def _break(self) -> None:
        """Closes with a reset, as a crash of the other side does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _body(self, headers: dict[str, str]) -> bytes:
        return self.rfile.read(int(headers.get("content-length", 0)))

    def _chunks(self) -> bytes:
        """A chunked body as it came, with its trailers."""
        raw = b""
        while True:
            line = self.rfile.readline()
            raw += line
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            raw += self.rfile.read(size + 2)
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            raw += line
        return raw + b"\r\n"


_OURS = ("content-length", "transfer-encoding", "connection")
