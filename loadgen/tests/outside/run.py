#!/usr/bin/env python3
"""Runs ringload as people do: against servers of others, against one that is stopped for a second, with Ctrl-C,
and its pages in Chromium. Prints the sums.

Does not build anything; installs the servers of others that come from registries, and leaves out one that cannot be
installed. What ringload reports about wrong servers is tested in loadgen/tests/scripted.
"""

import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "support"))

import environment
from server_under_test import Server, ServerFailed, end_in_order_at_sigterm, free_port

HERE = Path(__file__).resolve().parent
RIVALS = environment.ROOT / "bench" / "rivals"
FANOUT = environment.TARGET / "release" / "examples" / "fanout"
RUN_SECONDS_MAX = 90
INSTALL_SECONDS_MAX = 240
STOPPED_SECONDS = 1.0
# More than one address has ports for, which are some 28,000.
IDLE_CONNECTIONS = 40_000
IDLE_PER_SOURCE = 15_000


class Sums:
    """What has passed and failed so far."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, good, name, why=""):
        print(f"{'ok' if good else 'not ok'} - {name}" + (f"\n  {why}" if why and not good else ""), flush=True)
        self.passed += bool(good)
        self.failed += not good


def start(*words):
    command = [str(word) for word in (environment.LOADGEN, *words)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Exit code, JSON or text, and what went to standard error."""
    try:
        out, err = process.communicate(timeout=RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    try:
        return process.returncode, json.loads(out), err
    except json.JSONDecodeError:
        return process.returncode, out, err


def listens(port):
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds=15):
    """Whether it comes to hold within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ringload(*words):
    return finish(start(*words))


def install(folder, command):
    """Runs an installation that is quick when there is nothing to do; whether it worked."""
    path = f"{Path(environment.node()[0]).parent}{os.pathsep}{os.environ['PATH']}"
    options = {"cwd": folder, "env": {**os.environ, "PATH": path}, "stdin": subprocess.DEVNULL}
    try:
        subprocess.run(["sh", "-c", command], check=True, timeout=INSTALL_SECONDS_MAX, **options)
        return True
    except (subprocess.SubprocessError, OSError) as error:
        print(f"# {folder.name} cannot be installed: {error}")
        return False


def others():
    """The servers of others that are there: name and the command that serves on a port."""
    node = environment.node()[0]
    found = {"websockets": [environment.PYTHON, HERE / "websockets_server.py"]}
    npm = "npm ci --silent --no-audit --no-fund"
    if install(RIVALS / "ws", f"[ -d node_modules/ws ] || {npm}"):
        found["ws"] = [node, RIVALS / "ws" / "server.mjs"]
    if install(RIVALS / "bun", f"[ -x node_modules/.bin/bun ] || {npm}"):
        found["bun"] = [RIVALS / "bun" / "node_modules" / ".bin" / "bun", RIVALS / "bun" / "server.mjs"]
    return found


def run_against(command, mode, *words, server=()):
    """Has ringload start a server with these words, run a mode and end the server: exit code, result, and both as text."""
    port = free_port()
    line = shlex.join(str(word) for word in (*command, port, *server))
    code, result, errors = ringload(mode, f"ws://127.0.0.1:{port}/", "--server-cmd", line, "--json", "-", *words)
    # Of histograms nobody reads why a check failed.
    told = re.sub(r', "buckets": \[(\[[^]]*\](, )?)*\]', "", json.dumps(result))
    return code, result, f"exit code {code}: {errors}{told[:1500]}"


def against(name, command, sums):
    """The modes that a server of others can answer. ringload starts and ends it itself."""
    def run(mode, *words, server=()):
        return run_against(command, mode, *words, server=server)

    for kind, payload in (("--text", 20), ("--binary", 70_000)):
        code, result, why = run("echo", kind, "--payload", payload, "--connections", 20, "--messages", 50, "--verify", "all")
        sums.check(code == 0 and result["checked"]["compared"] == 1000, f"{name}: 1000 echoes of {payload} bytes are right", why)
    code, result, why = run("echo", "--rate", 500, "--poisson", "--connections", 10, "--duration", 1.5, "--expect", "loss=0,duplicates=0")
    sums.check(code == 0 and 400 < result["rate_per_second"] < 600, f"{name}: an open loop of 500 messages/s", why)
    sums.check(code == 0 and result["server"]["cpu_ns_per_message"] > 0 and result["server"]["rss_bytes"] > 1 << 20,
               f"{name}: its CPU time and memory are told", why)
    code, result, why = run("churn", "--connections", 4, "--duration", 0.5)
    sums.check(code == 0 and result["cycles"] > 10, f"{name}: connections come and go", why)
    code, result, why = run("fanout", "--connections", 20, "--publishers", 2, "--rate", 100, "--duration", 1, server=["fan-out"])
    sums.check(code == 0 and result["reach"]["share"] == 1.0 and result["completion_us"]["count"] > 50,
               f"{name}: fan-out of two publishers reaches everybody", why)


def compressed(name, command, sums):
    """Echoes and broadcasts with permessage-deflate: agreed everywhere, right, nothing lost, and smaller than the payload."""
    document = environment.ARTIFACTS / "ringload" / "document.json"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(json.dumps([{"number": number, "name": f"subscriber {number}", "open": True} for number in range(80)]))
    template = '{"connection": "{connection}", "sequence": "{sequence}", "text": "hello hello hello"}'
    gains = {}
    for settings in ("no-takeover", "takeover"):
        for sort, payload in (("file", ["--payload-file", document]), ("template", ["--template", template])):
            code, result, why = run_against(command, "echo", f"--deflate={settings},threshold=0", *payload, "--connections", 10,
                                            "--messages", 50, "--verify", "all", "--text", server=["deflate"])
            checked = result["checked"] if code == 0 else {}
            good = checked.get("compared") == 500 and checked["compressed_connections"] == 10
            good = good and not any("--deflate" in warning for warning in result["warnings"])
            sums.check(good, f"{name}: 500 compressed echoes of a {sort} are right, {settings}", why)
            if code != 0:
                continue
            wire = result["wire"]
            gains[settings, sort] = [wire[way]["payload_to_wire"] for way in ("sent", "received")]
            good = all(wire[way]["messages"] == 500 for way in wire) and min(gains[settings, sort]) > 1.0
            sums.check(good, f"{name}: its wire carries less than the payload both ways, {settings}, {sort}", str(wire))
        code, result, why = run_against(command, "fanout", f"--deflate={settings},threshold=0", "--payload-file", document, "--connections", 10,
                                        "--rate", 100, "--duration", 1, "--verify", "all", server=["fan-out", "deflate"])
        good = code == 0 and result["reach"]["share"] == 1.0 and result["checked"]["compressed_connections"] == 10
        sums.check(good and result["wire"]["sent"]["payload_to_wire"] > 1.0, f"{name}: compressed broadcasts reach everybody, {settings}", why)
    return gains


def takes_over(name, command, sums):
    """What is said again and again is shorter where both sides remember it."""
    gains = compressed(name, command, sums)
    if name != "bun" and len(gains) == 4:  # Bun answers that it forgets.
        fresh, remembered = gains["no-takeover", "template"], gains["takeover", "template"]
        good = all(more > 1.3 * less for less, more in zip(fresh, remembered))
        sums.check(good, f"{name}: takeover gains more than none, both ways", f"{fresh} and {remembered}")


def subprotocols(name, command, sums):
    """ws and Bun choose the first that is offered, websockets v2 where it is told to and otherwise none."""
    first, second, none = {"agreed": {"v1": 10}, "none": 0}, {"agreed": {"v2": 10}, "none": 0}, {"agreed": {}, "none": 10}
    words = ["echo", "--subprotocol", "v1", "--subprotocol", "v2", "--connections", 10, "--messages", 5]
    for server, due in [(["subprotocol"], second), ([], none)] if name == "websockets" else [([], first)]:
        code, result, why = run_against(command, *words, server=server)
        good = code == 0 and result["checked"]["subprotocols"] == due
        is_told = good and any("chose none of the subprotocols" in warning for warning in result["warnings"])
        sums.check(good and is_told == (due is none), f"{name}: the subprotocols agreed are told, {due}", why)


def stopped_server(driver, sums):
    """A server that is stopped for a second: all that was due meanwhile is late, and is told to be."""
    log = environment.ARTIFACTS / "logs" / f"ringload-stopped-{driver}.log"
    with Server(environment.SERVER, driver, log) as server:
        run = start("echo", server.address, "--driver", driver, "--connections", 4, "--rate", 400, "--pipeline", 1,
                    "--warmup", 0.5, "--duration", 4, "--json", "-")
        time.sleep(2)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        os.kill(server.pid, signal.SIGCONT)
        code, result, errors = finish(run)
        if code != 0:
            return sums.check(False, f"a stopped server, driver {driver}", f"exit code {code}: {errors}")
        corrected, uncorrected = result["latency_us"], result["uncorrected_latency_us"]
        why = f"corrected {corrected}, uncorrected {uncorrected}"
        stopped = STOPPED_SECONDS * 1e6
        sums.check(stopped * 0.95 < corrected["max"] < stopped * 1.6, f"the longest latency is the stop, driver {driver}", why)
        # A quarter of the run was due during the stop: one message in ten waited for more than half of it.
        sums.check(corrected["p90"] > stopped * 0.45, f"the corrected percentiles show the stop, driver {driver}", why)
        sums.check(uncorrected["p90"] < stopped * 0.2, f"the uncorrected ones hide it, driver {driver}", why)


def stopped_fan_out(driver, sums):
    """The same for broadcasts, of which more are due meanwhile than a small memory would hold."""
    port = free_port()
    command = [FANOUT, "--listen", f"127.0.0.1:{port}", "--driver", driver]
    server = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port))
        run = start("fanout", f"ws://127.0.0.1:{port}/", "--driver", driver, "--connections", 6, "--rate", "15k",
                    "--warmup", 0.5, "--duration", 4, "--json", "-")
        time.sleep(2)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        os.kill(server.pid, signal.SIGCONT)
        code, result, errors = finish(run)
    finally:
        server.kill()
        server.wait()
    if code != 0:
        return sums.check(False, f"a stopped fan-out, driver {driver}", f"exit code {code}: {errors}{str(result)[:600]}")
    latency, stopped = result["latency_us"], STOPPED_SECONDS * 1e6
    sums.check(stopped * 0.95 < latency["max"] < stopped * 2, f"the longest one-way latency is the stop, driver {driver}", str(latency))
    sums.check(latency["count"] == 6 * 60_000, f"every delivery has its latency, driver {driver}", str(latency))
    sums.check(result["reach"]["share"] == 1.0, f"and none is lost, driver {driver}", str(result["errors"]))


def interrupted(sums):
    log = environment.ARTIFACTS / "logs" / "ringload-interrupted.log"
    with Server(environment.SERVER, "epoll", log) as server:
        run = start("echo", server.address, "--connections", 4, "--duration", 60, "--warmup", 0.2, "--json", "-")
        time.sleep(2)
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        code, result, errors = finish(run)
        good = code == 130 and result["interrupted"] and result["messages"] > 0 and time.monotonic() - began < 10
        sums.check(good, "Ctrl-C ends a run and tells what was measured", f"exit code {code}: {errors}{str(result)[:500]}")


def interrupted_with_a_server(sums):
    """Signals of a terminal go to the whole group: the server that was started must not hear of them, nor be left."""
    for signals in (1, 2):
        port = free_port()
        command = f"sh -c '{environment.SERVER} echo --listen 127.0.0.1:{port}; true'"
        words = [environment.LOADGEN, "echo", f"ws://127.0.0.1:{port}/", "--server-cmd", command, "--connections", 4, "--duration", 60, "--json", "-"]
        run = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
        time.sleep(3)
        for _ in range(signals):
            os.killpg(run.pid, signal.SIGINT)
            time.sleep(0.02)
        code, result, errors = finish(run)
        if signals == 1:
            good = code == 130 and result["errors"]["lost_connections"] == 0 and result["messages"] > 0
            sums.check(good, "Ctrl-C loses no connection to a server that was started", f"exit code {code}: {errors}{str(result)[:500]}")
        else:
            sums.check(code == 130, "a second Ctrl-C ends the run at once", f"exit code {code}: {errors}")
        sums.check(wait_for(lambda: not listens(port)), f"and the server is gone after {signals}")


def idle_connections_that_fit(wanted):
    """As many as the limit of files allows, which is raised for those started from here if that is allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * 10 // 9 + 1000
    if most < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
            most = needed
        except (ValueError, OSError):
            print(f"# the hard limit of {most} files allows {most // 10 * 9 - 1000} of {wanted} connections")
    return min(wanted, most // 10 * 9 - 1000)


def sources(port):
    """The addresses that connections to a port come from, with how many come from each."""
    found = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            _, local, remote, state, *_ = line.split()
            if local.endswith(f":{port:04X}") and state == "01":
                address = remote.partition(":")[0]
                found[address] = found.get(address, 0) + 1
    return found


def many_idle(sums):
    """More connections than one address can have to a server: they come from several of loopback's."""
    count = idle_connections_that_fit(IDLE_CONNECTIONS)
    log = environment.ARTIFACTS / "logs" / "ringload-many.log"
    with Server(environment.SERVER, "epoll", log) as server:
        run = start("idle", server.address, "--connections", count, "--hold", 3, "--ping-interval", 3, "--server-pid", server.pid,
                    "--json", "-", "--expect", "bytes-per-connection>0,bytes-per-connection<16KiB")
        all_there = wait_for(lambda: run.poll() is not None or sum(sources(server.port).values()) >= count, RUN_SECONDS_MAX)
        found = sources(server.port)
        code, result, errors = finish(run)
    if not isinstance(result, dict):
        return sums.check(False, f"{count} idle connections", f"exit code {code}: {errors}")
    why = f"exit code {code}: {errors}{json.dumps(result)[:1500]}"
    sums.check(code == 0 and result["opened"] == count, f"{count} idle connections, each a little memory of the server", why)
    expected = -(-count // IDLE_PER_SOURCE)
    # The table may show a connection twice that moves while it is read.
    spread = len(found) == expected and max(found.values()) <= IDLE_PER_SOURCE * 1.01
    sums.check(all_there and spread, f"they come from {expected} addresses", str(found))
    pings = result["ping_us"]["count"]
    sums.check(pings > count * 0.9 and result["pings_lost"] == 0, "and answer their pings", why)


def own_server(sums):
    port = free_port()
    command = f"{environment.SERVER} echo --listen 127.0.0.1:{port}"
    words = ["echo", f"ws://127.0.0.1:{port}/", "--server-cmd", command, "--server-cores", "0", "--duration", 1, "--json", "-"]
    code, result, errors = ringload(*words)
    good = code == 0 and result["server"]["cpu_ns_per_message"] > 0 and result["server"]["voluntary_switches"] > 0
    sums.check(good, "a server is started for the run and watched", f"exit code {code}: {errors}")
    left = subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True, check=False).stdout
    sums.check(left == b"", "and ended after it")
    words[3] = f"sh -c '{command}; true'"
    code, result, errors = ringload(*words)
    good = code == 0 and result["server"]["cpu_ns_per_message"] > 100
    sums.check(good, "a server that a shell starts is watched as well", f"exit code {code}: {errors}{str(result)[:800]}")
    left = subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True, check=False).stdout
    sums.check(left == b"", "and ended after it, too")
    code, _, errors = ringload(*words[:3], "false", *words[4:])
    sums.check(code == 2 and "it ended with exit status: 1" in errors, "one that does not start is told", errors)


def pages(sums):
    """Makes a page of each sort and looks at them in Chromium; screenshots are kept."""
    folder = environment.ARTIFACTS / "ringload"
    folder.mkdir(parents=True, exist_ok=True)
    log = environment.ARTIFACTS / "logs" / "ringload-pages.log"
    with Server(environment.SERVER, "epoll", log) as server:
        pid, port = ["--server-pid", server.pid], free_port()
        made = {
            "echo": ["echo", server.address, "--rate", "2k", "--poisson", "--duration", 4, *pid, "--expect", "p99<1ns"],
            "idle": ["idle", server.address, "--connections", 200, "--ping-interval", 0.5, "--hold", 2, *pid],
            "matrix": ["matrix", server.address, "--payloads", "20,16384", "--connections", "1,64", "--rates", "max,1k",
                       "--seconds-per-row", 0.4, *pid],
            "search": ["search", server.address, "--slo", "p99<50ms", "--from", "1k", "--to", "8k", "--seconds-per-step", 0.5],
            "compare": ["compare", server.address, server.address, "--rounds", 3, "--seconds-per-run", 0.6, *pid,
                        "--server-pid-b", server.pid, "--name-a", "before", "--name-b", "after"],
            "headers": ["headers", server.address, "--connections", 8, "--seconds-per-row", 0.2, *pid],
            "churn": ["churn", server.address, "--connections", 8, "--duration", 2, *pid],
            "slow": ["slow", server.address, "--load", "echo", "--connections", 20, "--rate", 200, "--duration", 2, *pid],
            "fanout": ["fanout", f"ws://127.0.0.1:{port}/", "--server-cmd", f"{FANOUT} --listen 127.0.0.1:{port}",
                       "--connections", 20, "--rate", 200, "--duration", 2],
        }
        for name, words in made.items():
            page = folder / f"{name}.html"
            outputs = ["--html", page, "--csv", folder / f"{name}.csv", "--json", folder / f"{name}.json"]
            code, _, errors = ringload(*words, *outputs)
            due = 3 if name == "echo" else 0
            sums.check(code == due and page.exists(), f"the page of {name} is made", f"exit code {code}: {errors}")
    node = environment.node()[0]
    look = subprocess.run([node, HERE / "pages.mjs", environment.CLIENTS, *(str(folder / f"{name}.html") for name in made)],
                          capture_output=True, text=True, check=False, timeout=RUN_SECONDS_MAX)
    print(look.stdout, end="")
    lines = look.stdout.splitlines()
    sums.passed += sum(line.startswith("ok") for line in lines)
    sums.failed += sum(line.startswith("not ok") for line in lines)
    sums.check(look.returncode == 0 and any(line.startswith("ok") for line in lines), "all pages were looked at", look.stderr)


def manual(sums):
    page = subprocess.run([environment.LOADGEN, "man"], capture_output=True, text=True, check=False)
    words = ["\\fB\\-\\-rate\\fR", "MODE COMPARE", ".TH"]
    sums.check(page.returncode == 0 and all(word in page.stdout for word in words), "the man page has every mode", page.stdout[:400])
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([environment.LOADGEN, "completions", shell], capture_output=True, text=True, check=False)
        sums.check(script.returncode == 0 and "fuzzing-client" in script.stdout, f"completions for {shell}", script.stderr)


def main():
    end_in_order_at_sigterm()
    sums = Sums()
    try:
        for driver in ("ring", "epoll"):
            stopped_server(driver, sums)
            stopped_fan_out(driver, sums)
        interrupted(sums)
        interrupted_with_a_server(sums)
        own_server(sums)
        many_idle(sums)
        manual(sums)
        pages(sums)
        for name, command in others().items():
            against(name, command, sums)
            takes_over(name, command, sums)
            subprotocols(name, command, sums)
    except (ServerFailed, environment.SetupError, subprocess.SubprocessError) as error:
        sums.check(False, "ringload from outside", str(error))
    print(f"{sums.passed} passed, {sums.failed} failed")
    sys.exit(1 if sums.failed or not sums.passed else 0)


if __name__ == "__main__":
    main()
