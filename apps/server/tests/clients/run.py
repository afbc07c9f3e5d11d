#!/usr/bin/env python3
"""Runs every real client against the echo server, once for each driver, directly and through each reverse proxy,
then openssl and curl against its TLS, then the examples, and prints the sums.

Does not build the server and does not install the clients: scripts/test and scripts/setup do.
Each client prints its own tests and `N passed, N failed`; the last line here has the sums of all.
"""

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "scripts" / "support"))

import environment
from proxies import PROXIES, Proxy, server_arguments
from server_under_test import Server, ServerFailed, end_in_order_at_sigterm, free_port

CLIENT_SECONDS_MAX = 240
# What the process may keep after all connections are gone: descriptors opened once, at first use.
OPEN_FILES_MORE_MAX = 4
CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed$")


def clients():
    """The clients by name, each as the command that takes the server's address."""
    here = environment.CLIENTS
    node, major = environment.node()
    flags = [] if major >= environment.NODE_MAJOR_WEBSOCKET else ["--experimental-websocket", "--no-warnings"]
    return {
        "node_ws": [node, here / "node_ws.mjs"],
        "node_builtin": [node, *flags, here / "node_builtin.mjs"],
        "python_clients": [environment.PYTHON, here / "python_clients.py"],
        "browser": [node, here / "browser.mjs"],
    }


def run_client(command):
    """Runs one client, passes its output on, and returns how many of its tests passed and failed."""
    options = {"env": {**os.environ, "ARTIFACTS": str(environment.ARTIFACTS)}, "stdin": subprocess.DEVNULL}
    client = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
    timer = threading.Timer(CLIENT_SECONDS_MAX, client.kill)
    timer.start()
    passed, failed, closed = 0, 0, False
    try:
        for line in client.stdout:
            print(line, end="", flush=True)
            if sums := CLOSING_LINE.match(line.strip()):
                passed, failed, closed = int(sums[1]), int(sums[2]), True
    except BaseException:
        client.kill()
        raise
    finally:
        code = client.wait()
        timer.cancel()
    if not closed or (code != 0 and failed == 0) or passed + failed == 0:
        print(f"not ok - the client ended with {code} and no proper closing line")
        failed += 1
    return passed, failed


class Sums:
    """What has passed and failed so far, over all clients."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, counts):
        self.passed += counts[0]
        self.failed += counts[1]

    def check(self, good, name, why=""):
        print(f"{'ok' if good else 'not ok'} - {name}" + (f"\n{why}" if why and not good else ""), flush=True)
        self.add((1, 0) if good else (0, 1))


def files_return_to(server, before):
    """Whether the server lets go of its connections within a few seconds."""
    for _ in range(50):
        if server.open_files() <= before + OPEN_FILES_MORE_MAX:
            return True
        time.sleep(0.1)
    return False


def run_driver(arguments, driver, sums):
    """Runs the chosen clients against one server and ends it."""
    log = environment.ARTIFACTS / "logs" / f"clients-{driver}.log"
    with Server(arguments.server, driver, log) as server:
        before = server.open_files()
        for name, command in clients().items():
            if arguments.only and name not in arguments.only:
                continue
            print(f"# {name}, driver {driver}", flush=True)
            extra = [driver] if name == "browser" else []
            sums.add(run_client([*command, server.address, *extra]))
        print(f"# the server, driver {driver}")
        sums.check(server.is_running(), "the server is still running", server.end_of_log())
        if not server.is_running():
            return
        sums.check(files_return_to(server, before), "the server has closed every connection's descriptor",
                   f"  {server.open_files()} descriptors, {before} at its start")
        sums.add(run_client([*clients()["python_clients"], server.address, "--end-server", server.pid]))
        code = server.wait()
        sums.check(code == 0, "the server drains at SIGTERM and exits with 0", f"  it ended with {code}\n{server.end_of_log()}")
        panics = [line for line in server.log_lines() if "panicked" in line]
        sums.check(not panics, "the server's log has no panic", "\n".join(panics))


def knows_its_client(proxy, admin):
    """Whether the server tells the address of a connection that came through a proxy, not the proxy's."""
    request = (
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    # An address of its own, so that it cannot be taken for the proxy's.
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10, source_address=("127.7.7.7", 0)) as client:
        client.sendall(request.encode())
        head = client.recv(4096)
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/debug/connections", timeout=10) as answer:
            listed = answer.read().decode()
    return b" 101 " in head and "127.7.7.7" in listed, f"  {head!r}\n  {listed}"


def run_behind(arguments, driver, name, sums):
    """Runs the chosen clients through a proxy of this name."""
    log = environment.ARTIFACTS / "logs" / f"clients-{name}-{driver}.log"
    with contextlib.ExitStack() as stack:
        admin = free_port()
        extra = [*server_arguments(name), "--admin", f"127.0.0.1:{admin}"]
        server = stack.enter_context(Server(arguments.server, driver, log, extra))
        proxy = stack.enter_context(Proxy(name, server.port))
        known, seen = knows_its_client(proxy, admin)
        sums.check(known, f"the server knows its client behind {name}, driver {driver}", seen)
        for client, command in clients().items():
            if arguments.only and client not in arguments.only:
                continue
            print(f"# {client} through {name}, driver {driver}", flush=True)
            extra = [f"{name}-{driver}"] if client == "browser" else []
            sums.add(run_client([*command, proxy.address, *extra]))
        sums.check(server.is_running(), f"the server behind {name} is still running", server.end_of_log())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=os.environ.get("RINGSOCK_SERVER", environment.SERVER), help="command of the server, without `echo`")
    parser.add_argument("--driver", action="append", choices=["ring", "epoll"], help="repeatable; both without it")
    parser.add_argument("--only", action="append", choices=["node_ws", "node_builtin", "python_clients", "browser", "secured", "examples"], help="repeatable")
    parser.add_argument("--through", action="append", choices=["direct", *PROXIES], help="repeatable; all without it")
    arguments = parser.parse_args()
    end_in_order_at_sigterm()
    sums = Sums()
    for driver in arguments.driver or ["ring", "epoll"]:
        for way in arguments.through or ["direct", *PROXIES]:
            try:
                if way == "direct":
                    run_driver(arguments, driver, sums)
                else:
                    run_behind(arguments, driver, way, sums)
            except (ServerFailed, environment.SetupError) as error:
                sums.check(False, f"clients with driver {driver}, {way}", f"  {error}")
        if not arguments.through and (not arguments.only or "secured" in arguments.only):
            print(f"# openssl and curl, driver {driver}", flush=True)
            secured = environment.CLIENTS / "secured.py"
            sums.add(run_client([environment.PYTHON, secured, driver, "--server", arguments.server]))
    if not arguments.through and (not arguments.only or "examples" in arguments.only):
        print("# examples in Chromium", flush=True)
        node, _ = environment.node()
        sums.add(run_client([node, environment.CLIENTS / "examples.mjs", Path(environment.SERVER).parent / "examples"]))
    print(f"{sums.passed} passed, {sums.failed} failed")
    sys.exit(1 if sums.failed or not sums.passed else 0)


if __name__ == "__main__":
    main()
