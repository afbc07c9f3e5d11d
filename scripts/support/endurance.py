"""A server under load for hours: what comes in must come out, and its memory must not grow.

The loads are echoes, compressed echoes and connections that come and go, at a rate that leaves room; resets and broken
handshakes go on beside them.
"""

import asyncio

import random

import time

from faults import finish, load, tls_hello
import raw_client
from raw_client import frame, open_socket, reset
from subject import Subject, require

SAMPLE_SECONDS = 10
# Memory of the first part is still finding its size.
WARM_SHARE = 0.25
GROWTH_BYTES_PER_HOUR_MAX = 1 << 20


def slope(samples):
    """Bytes an hour by least squares."""
    count = len(samples)
    mean_time = sum(at for at, _ in samples) / count
    mean = sum(value for _, value in samples) / count
    spread = sum((at - mean_time) ** 2 for at, _ in samples)
    return 3600 * sum((at - mean_time) * (value - mean) for at, value in samples) / spread


async def disturb(subject, secured):
    """Connections that are reset at any moment, for ever."""
    hello = tls_hello()
    while True:
        try:
            if secured and random.random() < 0.3:
                _, writer = await raw_client.connect(subject.address)
                writer.write(hello[: random.randrange(len(hello))])
            else:
                _, writer = await open_socket(subject.address, secured=secured)
                writer.write(frame(bytes(random.choice([20, 5_000, 300_000]))))
            await asyncio.sleep(random.random() * 0.05)
            reset(writer)
        except OSError:
            pass


async def watch(subject, seconds, out):
    """Samples of memory, by seconds."""
    began, samples = time.monotonic(), []
    with out.open("w") as file:
        file.write("seconds,anonymous_bytes,connections,messages\n")
        while (at := time.monotonic() - began) < seconds:
            metrics = subject.metrics()
            samples.append((at, subject.memory()))
            file.write(f"{at:.0f},{samples[-1][1]},{metrics['connections']},{metrics['messages_received']}\n")
            file.flush()
            await asyncio.sleep(SAMPLE_SECONDS)
    return samples


async def keep_going(play, driver, seconds, secured):
    name = f"endurance-{'tls' if secured else 'plain'}"
    with Subject(play, driver, name, flags=["--deflate"], secured=secured) as subject:
        common = ["--duration", int(seconds), "--verify", "sample"]
        loads = [
            load(play, "echo", subject.url, "--connections", 200, "--rate", 3000, "--payload", 64, *common),
            load(play, "echo", subject.url, "--connections", 20, "--rate", 300, "--payload", 4096, "--deflate", *common),
            load(play, "echo", subject.url, "--connections", 2, "--rate", 20, "--payload", 200_000, *common),
            load(play, "churn", subject.url, "--connections", 4, "--duration", int(seconds)),
        ]
        disturbing = [asyncio.create_task(disturb(subject, secured)) for _ in range(4)]
        samples = await watch(subject, seconds, play.out / f"{name}-{driver}.csv")
        for task in disturbing:
            task.cancel()
        for one in loads:
            finish(one, "a load", 120)
        await subject.at_rest()
        metrics = subject.metrics()
        warm = [sample for sample in samples if sample[0] >= seconds * WARM_SHARE]
        growth = slope(warm) if len(warm) > 2 else 0.0
        print(f"#   {name} ({driver}): {seconds / 3600:.2f} h, {metrics['messages_received']:,} messages, {metrics['accepted']:,} connections, "
              f"{samples[-1][1] >> 10:,} KiB at the end, {growth / 1024:+.0f} KiB an hour", flush=True)
        enough = seconds >= 1800
        require(not enough or growth < GROWTH_BYTES_PER_HOUR_MAX, f"memory grows by {growth / 1024:.0f} KiB an hour")


def endure(play, driver, seconds, play_one):
    """Half of the time plain, half of it over TLS; whether all went well."""

    async def endurance(play, driver):
        for secured in (False, True):
            await keep_going(play, driver, seconds / 2, secured)

    return play_one(play, endurance, driver)
