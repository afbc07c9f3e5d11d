"""A running server that things are done to, and what it must look like when nothing happens any more."""

import asyncio
import os
import re
import time
import urllib.request
from pathlib import Path

from server_under_test import Server, free_port

SETTLE_SECONDS_MAX = 15
# Descriptors that a server may come to hold for itself.
OWN_FILES_MAX = 2


class FaultFound(Exception):
    """What went wrong, in words."""


def require(condition, what):
    if not condition:
        raise FaultFound(what)


class Subject:
    """A server with an admin address, and what it must look like when nothing happens."""

    def __init__(self, play, driver, name, settings=(), flags=(), secured=False, command=None, hosts=()):
        self._admin = free_port()
        further = [*flags, *(word for setting in settings for word in ("--set", setting))]
        port = free_port()
        further += [word for host in hosts for word in ("--listen", f"{host}:{port}")]
        if command is None:
            further += ["--admin", f"127.0.0.1:{self._admin}", "--set", "limits.drain_window=200ms"]
        if secured:
            further += ["--tls-cert", play.authority.certificate, "--tls-key", play.authority.key]
        application = ("echo",) if command is None else ()
        log = play.out / f"{name}-{driver}.log"
        self._server = Server(command or play.server, driver, log, further, port=port, application=application)
        self.address = ("127.0.0.1", self._server.port)
        self.url = f"{'wss' if secured else 'ws'}://127.0.0.1:{self._server.port}/"
        self._files = 0

    def __enter__(self):
        self._server.__enter__()
        self._files = self._server.open_files()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                code = self._server.end()
                require(code == 0, f"the server ended with {code}\n{self._server.end_of_log()}")
        finally:
            self._server.__exit__()

    @property
    def pid(self):
        return self._server.pid

    def signal(self, number):
        os.kill(self.pid, number)

    def metrics(self):
        """Every metric, summed over the shards."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/metrics", timeout=10) as answer:
            page = answer.read().decode()
        sums = {}
        for line in page.splitlines():
            if match := re.match(r"(?:ringsock_)?(\w+?)(?:_total)?(?:\{.*\})? (\d+)$", line):
                sums[match[1]] = sums.get(match[1], 0) + int(match[2])
        return sums

    def told(self):
        """The metrics that say something."""
        return ", ".join(f"{name} {value}" for name, value in self.metrics().items() if value)

    def memory(self):
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1]) * 1024

    async def until(self, condition, what, seconds=SETTLE_SECONDS_MAX):
        """Waits until the metrics are as `condition` wants; how long that took."""
        began = time.monotonic()
        while not condition(self.metrics()):
            require(time.monotonic() - began < seconds, f"not within {seconds} s: {what}; {self.told()}")
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def at_rest(self, seconds=SETTLE_SECONDS_MAX):
        """Nothing is left of what was done to it."""
        await self.until(lambda now: now["connections"] == 0, "no connection is left", seconds)
        metrics = self.metrics()
        require(metrics["opened"] == metrics["closed"], f"opened and closed differ: {self.told()}")
        for wrong in ("handler_panics", "stale_completions"):
            require(metrics[wrong] == 0, f"{wrong}: {metrics[wrong]}")
        began = time.monotonic()
        while self._server.open_files() > self._files + OWN_FILES_MAX:
            require(time.monotonic() - began < 5, f"{self._server.open_files()} descriptors, at first {self._files}")
            await asyncio.sleep(0.05)
        errors = [line for line in self._server.log_lines() if " ERROR " in line]
        require(not errors, "\n".join(errors))
