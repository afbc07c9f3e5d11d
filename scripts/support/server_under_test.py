"""Starts a server for a test, waits till it listens, and ends it.

Does not know WebSocket. The server is ended by its process id and nothing outlives the `with` block.
"""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time

START_SECONDS_MAX = 15
# A drain takes half a minute at most; a test has no connections left open that would need that.
END_SECONDS_MAX = 20
LOG_LINES_SHOWN = 30

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class ServerFailed(Exception):
    """The server did not start, or did not stay up; the message holds the end of its log."""


def free_port():
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_in_order_at_sigterm():
    """Lets SIGTERM unwind this program, so that what it started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Server:
    """`COMMAND echo --listen HOST:PORT --driver DRIVER …`, running inside a `with` block.

    Programs that are one application take no word for it: `application=()`.
    """

    def __init__(self, command, driver, log, arguments=(), port=None, application=("echo",), host="127.0.0.1"):
        self.port = port or free_port()
        self.address = f"ws://{host}:{self.port}/"
        self.driver = driver
        self.log = log
        self._command = [*shlex.split(str(command)), *application, "--listen", f"{host}:{self.port}", "--driver", driver, *arguments]
        # Examples log nothing.
        self._is_silent = not application
        self._process = None

    def _accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("w") as log:
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            raise ServerFailed(f"cannot start {self._command[0]}: {error.strerror}; build it first: cargo build --release") from error
        try:
            self._wait_till_it_listens()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_):
        self.end()
        self._kill()

    def _wait_till_it_listens(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._is_silent and self._accepts():
                return
            line = next((line for line in self.log_lines() if "listening on" in line), None)
            if line is not None:
                if not re.search(rf"\b{self.driver}\b", line):
                    raise ServerFailed(f"asked for driver {self.driver}, but the server says: {line}")
                return
            if self._process.poll() is not None:
                raise ServerFailed(f"the server ended with {self._process.returncode} at its start\n{self.end_of_log()}")
            time.sleep(0.02)
        raise ServerFailed(f"no line `listening on` within {START_SECONDS_MAX} s\n{self.end_of_log()}")

    def is_running(self):
        return self._process.poll() is None

    def end(self):
        """Asks with SIGTERM, waits, and returns the exit code; None when it had to be killed."""
        if self.is_running():
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        """The exit code once the server has ended; None when it does not end in time."""
        try:
            return self._process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return None

    def _kill(self):
        if self.is_running():
            self._process.kill()
            self._process.wait()

    def open_files(self):
        """How many descriptors the server holds."""
        return len(subprocess.run(["ls", f"/proc/{self.pid}/fd"], capture_output=True, text=True, check=False).stdout.split())

    def log_lines(self):
        return _ESCAPES.sub("", self.log.read_text(errors="replace")).splitlines()

    def end_of_log(self):
        return "\n".join(f"  log: {line}" for line in self.log_lines()[-LOG_LINES_SHOWN:])
