"""What can go wrong around a server, each as a short and as a long play.

A fault knows what it does and what must come of it; what others notice is looked at by bystanders, and what is left
behind by the subject.
"""

import asyncio
import os
import random
import shlex
import signal
import ssl
import subprocess
import time

import raw_client
from raw_client import Bystander, frame, open_socket, read_frame, reset
from subject import FaultFound, Subject, require
from surroundings import Network

# What others may notice. The short plays run beside other work on few cores, so they only find what is broken.
P99_SECONDS_MAX = {"short": 1.0, "long": 0.1}


def calm(play, bystander):
    """Nobody else has noticed."""
    require(not bystander.failures, f"bystanders: {bystander.failures[:3]}")
    require(len(bystander.seconds) > 20, f"only {len(bystander.seconds)} answers")
    most = P99_SECONDS_MAX[play.form]
    require(bystander.p99() < most, f"p99 of bystanders {bystander.p99() * 1000:.0f} ms of {most * 1000:.0f}")


async def gather(count, at_once, action):
    """Does something `count` times, so many at once; what came of each."""
    gate = asyncio.Semaphore(at_once)

    async def one(number):
        async with gate:
            return await action(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


def load(play, *words):
    """A load generator in the background. It trusts the certificates of this play."""
    command = [*shlex.split(str(play.client)), *map(str, words)]
    trusting = {**os.environ, "SSL_CERT_FILE": play.authority.root}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=trusting)
    play.loads.append(process)
    return process


def finish(process, what, seconds):
    """Waits for a load that must succeed."""
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise FaultFound(f"{what} did not end within {seconds} s") from error
    require(process.returncode == 0, f"{what}: {process.returncode}: {errors.strip()}")


def tls_hello():
    """The first flight of a client."""
    sent = ssl.MemoryBIO()
    session = raw_client.trusting_all().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


async def trickling_handshakes(play, driver):
    """Peers send their handshake a byte a second, of HTTP or of TLS: cut by the deadline, and nobody waits for them."""
    count = play.size(200, 5000)
    timeout = play.size(2, 10)
    for secured in (False, True):
        with Subject(play, driver, "trickling", [f"limits.handshake_timeout={timeout}s"], secured=secured) as subject:
            hello = tls_hello() if secured else raw_client.REQUEST

            async def trickle(_):
                began = time.monotonic()
                reader, writer = await raw_client.connect(subject.address)
                ended = asyncio.create_task(reader.read())
                for byte in hello:
                    if ended.done():
                        break
                    writer.write(bytes([byte]))
                    await asyncio.wait([ended], timeout=1)
                await asyncio.wait_for(ended, 30)
                writer.close()
                return time.monotonic() - began

            async with Bystander(subject.address, secured=secured) as bystander:
                taken = await gather(count, count, trickle)
                calm(play, bystander)
            require(max(taken) < timeout + 8, f"the last one was cut after {max(taken):.1f} s of {timeout}")
            await subject.at_rest()


async def killed_clients(play, driver):
    """A program with very many connections is killed, again and again: all places are free at once."""
    count, times = play.size(1000, 10_000), play.size(2, 100)
    with Subject(play, driver, "killed") as subject:
        async with Bystander(subject.address) as bystander:
            for _ in range(times):
                clients = load(play, "idle", subject.url, "--connections", count, "--hold", 60)
                await subject.until(lambda now: now["connections"] >= count + 8, "all are connected", 60)
                clients.kill()
                clients.communicate()
                took = await subject.until(lambda now: now["connections"] <= 8, "all are gone", 10)
                require(took < play.size(5, 2), f"places are free after {took:.1f} s")
            calm(play, bystander)
        await subject.at_rest()


async def resets(play, driver):
    """Connections are reset at any moment: within handshakes, frames, and answers that are being sent."""
    count = play.size(1000, 25_000)
    for secured in (False, True):
        with Subject(play, driver, "resets", secured=secured) as subject:

            async def one(number):
                dice = random.Random(number)
                try:
                    if secured and dice.random() < 0.3:
                        # Within the handshake of TLS.
                        _, writer = await raw_client.connect(subject.address)
                        hello = tls_hello()
                        writer.write(hello[: dice.randrange(len(hello) + 1)])
                    elif dice.random() < 0.3:
                        _, writer = await raw_client.connect(subject.address, secured=secured)
                        writer.write(raw_client.REQUEST[: dice.randrange(len(raw_client.REQUEST) + 1)])
                    else:
                        _, writer = await open_socket(subject.address, secured=secured)
                        sent = frame(bytes(dice.choice([20, 5_000, 300_000])))
                        writer.write(sent[: dice.randrange(len(sent) + 1)] if dice.random() < 0.5 else sent)
                    await asyncio.sleep(dice.random() * 0.01)
                    reset(writer)
                except OSError:
                    # It was faster than its own handshake.
                    pass

            async with Bystander(subject.address, secured=secured) as bystander:
                await gather(count, 64, one)
                calm(play, bystander)
            await subject.at_rest()


async def slow_subscribers(play, driver):
    """Many subscribers of a topic read next to nothing: they are sent away, and the others hear everything in time."""
    slow_count, fast_count = play.size(60, 1000), 10
    messages, size = play.size(400, 800), 16 * 1024
    with Subject(play, driver, "subscribers", command=play.fanout) as subject:
        before = subject.memory()
        fast = [await open_socket(subject.address) for _ in range(fast_count)]
        slow = await gather(slow_count, 64, lambda _: open_socket(subject.address, receive_buffer=4096))
        peak = 0

        async def listen(reader):
            for number in range(messages):
                opcode, payload = await asyncio.wait_for(read_frame(reader), 30)
                require(opcode == 2 and payload[:4] == number.to_bytes(4, "big"), f"message {number} is missing")

        is_said = asyncio.Event()

        async def speak(writer):
            nonlocal peak
            for number in range(messages):
                writer.write(frame(number.to_bytes(4, "big") + bytes(size - 4)))
                await writer.drain()
                await asyncio.sleep(0.002)
                peak = max(peak, subject.memory())
            is_said.set()

        async def is_sent_away(reader):
            """Reads next to nothing until all is said: whoever reads nothing for 5 s is dropped without a word."""
            try:
                while True:
                    opcode, payload = await asyncio.wait_for(read_frame(reader), 10)
                    if opcode == 8:
                        return int.from_bytes(payload[:2], "big") == 1008
                    if not is_said.is_set():
                        await asyncio.sleep(0.25)
            except (OSError, EOFError, asyncio.TimeoutError):
                return None

        # Whoever reads must be behind by more than kernels and the limit of a queue hold.
        watched = slow[:20] if messages * size > 12 << 20 else []
        away = [asyncio.create_task(is_sent_away(reader)) for reader, _ in watched]
        await asyncio.gather(speak(fast[0][1]), *(listen(reader) for reader, _ in fast))
        # What is published is shared: the slow ones together hold little more than one of them.
        most = 64 * 1024 * 1024
        require(peak - before < most, f"{(peak - before) >> 20} MiB for {slow_count} slow subscribers")
        told = await asyncio.gather(*away)
        require(not watched or any(told), "none of the slow ones was told 1008")
        for _, writer in [*fast, *slow]:
            reset(writer)


async def closed_windows(play, driver):
    """Peers ask for a lot and never read it: dropped when they have taken nothing for too long."""
    # The kernel's buffers hold some 4 MiB for each of them: 500 took all that tcp_mem allowed on a machine of 24 GiB, and then
    # what the kernel takes moves by fits and starts.
    count = play.size(20, 200)
    timeout = play.size(2, 30)
    # What so many may make an echo server hold must fit its memory budget, or some are refused for that; and on a busy
    # machine a message of ours may be long under way.
    settings = [f"limits.write_stall_timeout={timeout}s", "limits.receive_pause_bytes=512KiB", "limits.assembly_timeout=10m"]
    with Subject(play, driver, "windows", settings) as subject:

        async def ask(_):
            _, writer = await open_socket(subject.address, receive_buffer=4096)
            for _ in range(40):
                writer.write(frame(bytes(256 * 1024)))
            return writer

        async with Bystander(subject.address) as bystander:
            began = time.monotonic()
            asked = await gather(count, 64, ask)
            await subject.until(lambda now: now["timeouts_write"] >= count, "all are dropped", 3 * timeout + 30)
            took = time.monotonic() - began
            require(took > timeout * 0.9, f"dropped after {took:.1f} s already")
            calm(play, bystander)
        for writer in asked:
            reset(writer)
        await subject.at_rest()


async def vanished_peers(play, driver):
    """Peers lose their network without a word: their places are free after two unanswered Pings."""
    count = play.size(50, 2000)
    # All of them come from one address.
    settings = ["limits.ping_interval=1s", "limits.ping_misses_max=2", "limits.accepts_per_address_per_second=10000"]
    with Network() as network, Subject(play, driver, "vanished", settings, hosts=[network.host]) as subject:
        url = f"ws://{network.host}:{subject.address[1]}/"
        command = [*shlex.split(str(play.client)), "idle", url, "--connections", count, "--hold", 60]
        clients = network.run(command)
        try:
            async with Bystander(subject.address, connections=2) as bystander:
                await subject.until(lambda now: now["connections"] >= count + 2, "all are connected", 60)
                network.cut()
                took = await subject.until(lambda now: now["connections"] <= 2, "those who vanished are gone", 30)
                require(took > 1, f"gone after {took:.1f} s: nobody vanished")
                require(subject.metrics()["timeouts_ping"] == count, subject.told())
                calm(play, bystander)
        finally:
            clients.kill()
            clients.wait()
        await subject.at_rest()


async def starved_rings(play, driver):
    """Four receive buffers of 256 bytes, queues of 8 and 2 entries, thousands of connections: slow, and right."""
    count, seconds = play.size(500, 5000), play.size(2, 60)
    with Subject(play, driver, "starved", flags=["--test-tiny-buffers"]) as subject:
        words = ["echo", subject.url, "--connections", count, "--payload", 700, "--duration", seconds, "--verify", "all"]
        finish(load(play, *words), "echoes", seconds + 60)
        await subject.at_rest()


async def floods(play, driver):
    """One peer sends tiny frames as fast as it can: the others hardly notice."""
    seconds = play.size(2, 30)
    with Subject(play, driver, "floods") as subject:
        async with Bystander(subject.address) as bystander:
            await asyncio.sleep(seconds)
            usual = bystander.p99()
            flood = load(play, "echo", subject.url, "--connections", 1, "--payload", 1, "--pipeline", 512, "--duration", seconds + 1)
            await asyncio.sleep(1)
            bystander.seconds.clear()
            await asyncio.sleep(seconds)
            finish(flood, "the flood", seconds + 30)
            # Server, flood and bystanders share the cores here, so the ratio counts only beyond some milliseconds.
            most = max(2 * usual, play.size(0.25, 0.05))
            require(bystander.p99() < most, f"p99 {bystander.p99() * 1000:.1f} ms beside a flood, {usual * 1000:.1f} ms without")
            require(not bystander.failures, f"bystanders: {bystander.failures[:3]}")
        await subject.at_rest()


async def canaries(play, driver):
    """Every message says whose it is, beside resets, compressed and not, plain and over TLS: none reaches another."""
    seconds = play.size(2, 900)
    for secured in (False, True):
        with Subject(play, driver, "canaries", flags=["--deflate"], secured=secured) as subject:
            template = "of connection {connection} number {sequence}: " + "canary " * 60
            words = ["echo", subject.url, "--connections", 32, "--pipeline", 8, "--template", template, "--verify", "all", "--duration", seconds]
            loads = [load(play, *words), load(play, *words, "--deflate")]

            async def disturb(number):
                try:
                    _, writer = await open_socket(subject.address, secured=secured)
                    writer.write(frame(os.urandom(random.choice([50, 20_000]))))
                    await asyncio.sleep(random.random() * 0.02)
                    reset(writer)
                except OSError:
                    pass

            while loads[0].poll() is None:
                await gather(20, 20, disturb)
                await asyncio.sleep(0.02)
            for one in loads:
                finish(one, "canaries", seconds + 60)
            await subject.at_rest()


async def broken_handshakes(play, driver):
    """TLS handshakes end after each of their bytes, while certificates change and others come and go."""
    step = play.size(7, 1)
    with Subject(play, driver, "handshakes", ["limits.handshake_timeout=5s"], secured=True) as subject:
        hello = tls_hello()

        async def break_off(number):
            _, writer = await raw_client.connect(subject.address)
            writer.write(hello[: number * step])
            await asyncio.sleep(0.01)
            (reset if number % 2 else lambda writer: writer.close())(writer)

        async def reload():
            while True:
                play.authority.issue()
                subject.signal(signal.SIGHUP)
                await asyncio.sleep(0.2)

        reloading = asyncio.create_task(reload())
        seconds = play.size(3, 60)
        churn = load(play, "churn", subject.url, "--connections", 8, "--duration", seconds)
        try:
            while churn.poll() is None:
                await gather(len(hello) // step + 1, 50, break_off)
        finally:
            reloading.cancel()
        finish(churn, "healthy handshakes", 60)
        await subject.at_rest()


async def refusals(play, driver):
    """A peer is refused while a mebibyte of it is on its way: the answer reaches it."""
    flight = bytes(1 << 20)
    with Subject(play, driver, "refusals", ["limits.message_bytes_max=64KiB"]) as subject:
        for _ in range(play.size(5, 200)):
            reader, writer = await raw_client.connect(subject.address)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * len(flight))
            require((await told(reader)).startswith(b"HTTP/1.1 431 "), "431 does not arrive")
            reset(writer)
            reader, writer = await raw_client.connect(subject.address)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + flight)
            require((await told(reader)).startswith(b"HTTP/1.1 405 "), "405 does not arrive")
            reset(writer)
            reader, writer = await open_socket(subject.address)
            writer.write(frame(flight))
            opcode, payload = await asyncio.wait_for(read_frame(reader), 10)
            require((opcode, payload[:2]) == (8, (1009).to_bytes(2, "big")), "1009 does not arrive")
            reset(writer)
        await subject.at_rest()


async def told(reader):
    """All that a server says before it ends or resets the connection."""
    said = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 10):
            said += piece
    except ConnectionError:
        pass
    return said


FAULTS = [
    trickling_handshakes,
    killed_clients,
    resets,
    slow_subscribers,
    closed_windows,
    vanished_peers,
    starved_rings,
    floods,
    canaries,
    broken_handshakes,
    refusals,
]
