"""The least of a language client: bytes in, bytes out, time stamps. Adds next to nothing itself."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class StdioClient:
    """Speaks JSON-RPC to `gradtracer serve`; answers whatever the server asks with null."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gradtracer_server", "serve"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._answers: dict[int, queue.SimpleQueue[Any]] = {}
        self._listeners: list[Callable[[str, Any, float], None]] = []
        self._next = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def listen(self, listener: Callable[[str, Any, float], None]) -> None:
        """Call `listener(method, params, time.time())` for each notification."""
        self._listeners.append(listener)

    def request(self, method: str, params: Any) -> Any:
        """Send and wait for the result."""
        self._next += 1
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers[self._next] = answer
        self._send({"id": self._next, "method": method, "params": params})
        message = answer.get(timeout=60)
        if "error" in message:
            raise RuntimeError(message["error"])
        return message.get("result")

    def notify(self, method: str, params: Any) -> None:
        """Send and go on."""
        self._send({"method": method, "params": params})

    def initialize(self) -> float:
        """Handshake; returns seconds from process start to the answer."""
        folder = {"uri": self.root.as_uri(), "name": self.root.name}
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": folder["uri"],
                "workspaceFolders": [folder],
                "capabilities": {"textDocument": {"hover": {"contentFormat": ["markdown"]}}},
            },
        )
        seconds = time.perf_counter() - self.started
        self.notify("initialized", {})
        return seconds

    def open(self, path: Path) -> str:
        """Open a document; returns its URI."""
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1}
        self.notify("textDocument/didOpen", {"textDocument": document | {"text": path.read_text()}})
        return document["uri"]

    def resident_mb(self) -> float:
        """Resident memory of the server process, MB (2^20 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def close(self) -> None:
        """Shut the server down."""
        self.request("shutdown", None)
        self.notify("exit", None)
        self.process.wait(timeout=20)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        with self._lock:
            self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.process.stdin.flush()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if not length:
                return
            message = json.loads(stream.read(length))
            now = time.time()
            if "method" not in message:
                self._answers.pop(message["id"]).put(message)
            elif "id" in message:
                self._send({"id": message["id"], "result": None})
            else:
                for listener in self._listeners:
                    listener(message["method"], message.get("params"), now)
