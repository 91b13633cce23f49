"""A camera on the network in a process of its own, which tests kill, stall and start again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SERVER = """
import http.server, pathlib, sys, time

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with (folder.parent / 'asked').open('a') as asked:
            asked.write('.')
        parts = sorted(folder.iterdir())
        jpeg = parts[0].suffix == '.jpg'
        kind = 'multipart/x-mixed-replace; boundary=part' if jpeg else 'video/mp2t'
        self.send_response(200)
        self.send_header('Content-Type', kind)
        self.end_headers()
        while True:
            for part in parts:
                while (folder.parent / 'stall').exists():
                    time.sleep(0.01)
                if 'stall' in part.name:
                    time.sleep(60)
                if 'end' in part.name:
                    return
                data = part.read_bytes()
                if jpeg:
                    self.wfile.write(b'--part\\r\\nContent-Type: image/jpeg\\r\\n')
                    self.wfile.write(b'Content-Length: %d\\r\\n\\r\\n' % len(data))
                for at in range(0, len(data), 1316):
                    self.wfile.write(data[at:at + 1316])
                    time.sleep(0 if jpeg else 0.002)
                if jpeg:
                    self.wfile.write(b'\\r\\n')
                    time.sleep(0.025)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass

server = Server(('127.0.0.1', port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class ServerProcess:
    """A Python program that serves at a port which it prints; it may be killed and started again.

    Args:
        arguments: of the interpreter, before the port.
    """

    def __init__(self, *arguments: str) -> None:
        self.port = 0
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Serve, on the port of before if there was one."""
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """Break off; may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class WebCamera(ServerProcess):
    """Sends the files of a folder over and over, in the order of their names.

    As parts of a multipart stream, up to 40 a second (``.jpg``), or as they are (``.ts``). At a
    file with ``stall`` in its name a connection says nothing more, at one with ``end`` it is
    closed.

    Args:
        folder: what is sent; what lies there when a connection begins. Marks are made beside it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("-S", "-c", _SERVER, str(folder))
        self.folder = folder

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"

    def asked(self) -> int:
        """How often somebody connected."""
        return len((self.folder.parent / "asked").read_text())

    def stall(self, on: bool) -> None:
        """Have all connections say nothing, and close nothing, until it is taken back."""
        mark = self.folder.parent / "stall"
        if on:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)
