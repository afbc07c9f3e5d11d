"""The PyPI packages `websockets` and `aiohttp` against the echo server.

Does not start the server. usage: python_clients.py ws://127.0.0.1:PORT/ [--end-server PID]

With --end-server only one test runs: the server gets SIGTERM while connections are open, and each of
them must be told. Whoever started the server then checks that it has ended well.
"""

import asyncio
import os
import random
import signal
import sys
import time
import traceback

import aiohttp
import websockets
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_blocking

MIB = 1024 * 1024
TEST_SECONDS_MAX = 40
TESTS = []


def test(function):
    """Registers a test; its docstring is its name."""
    TESTS.append(function)
    return function


def noise(length, seed=1):
    return random.Random(seed).randbytes(length)


def plain(address, **options):
    """A connection of `websockets` without compression and with room for large messages."""
    options.setdefault("compression", None)
    return connect(address, max_size=16 * MIB, **options)


async def expect_echo(connection, payload):
    await connection.send(payload)
    answer = await connection.recv()
    assert type(answer) is type(payload), f"sent {type(payload).__name__}, got {type(answer).__name__}"
    assert answer == payload, f"{len(payload)} bytes or characters came back changed"


@test
async def text_and_binary(address):
    """websockets: text and binary come back with their kind"""
    async with plain(address) as connection:
        for payload in ["Hello", "", "Καλημέρα 👋", b"", bytes(range(256))]:
            await expect_echo(connection, payload)


@test
async def one_mebibyte(address):
    """websockets: 1 MiB of each kind comes back unchanged"""
    async with plain(address) as connection:
        await expect_echo(connection, noise(MIB))
        await expect_echo(connection, noise(MIB // 2).hex())


@test
async def fragments(address):
    """websockets: fragmented messages come back whole"""
    async with plain(address) as connection:
        pieces = [noise(length, seed=length) for length in (1, 0, 125, 126, 65_536, 7)]
        await connection.send(pieces)
        assert await connection.recv() == b"".join(pieces)
        await connection.send(["frag", "", "ment", "ed ✓"])
        assert await connection.recv() == "fragmented ✓"
        await connection.send(bytes([number % 256]) for number in range(2000))
        assert await connection.recv() == bytes(number % 256 for number in range(2000))


@test
async def pings(address):
    """websockets: pings are answered and their latency is measured"""
    async with plain(address) as connection:
        for payload in [b"", b"a", noise(125)]:
            latency = await (await connection.ping(payload))
            assert 0 < latency < 5, f"latency of {latency} s"
        # An answer to the last ping settles those before it: here each must have its own.
        waiters = [await connection.ping(f"ping {number}") for number in range(10)]
        latencies = await asyncio.gather(*waiters)
        assert len(latencies) == 10
        await expect_echo(connection, "still here")


@test
async def close_codes(address):
    """websockets: close codes are answered as sent"""
    for code in [1000, 1001, 1003, 1008, 1011, 3000, 4000, 4999]:
        async with plain(address) as connection:
            await connection.close(code, f"reason of {code}")
            assert connection.close_code == code, f"sent {code}, got {connection.close_code}"
            # RFC 6455, 5.5.1 has the code sent back; the reason may be, but is no other.
            assert connection.close_reason in ("", f"reason of {code}"), f"another reason: {connection.close_reason}"
            assert connection.protocol.close_rcvd is not None, "the server did not answer the close"


@test
async def close_without_code(address):
    """websockets: close without a code is answered without one"""
    connection = await plain(address)
    connection.protocol.send_close()
    async with connection.send_context(expected_state=websockets.State.CLOSING):
        pass
    await connection.wait_closed()
    assert connection.close_code == 1005, f"got {connection.close_code}"


@test
async def subprotocol(address):
    """websockets: a subprotocol without common value is ignored"""
    async with plain(address, subprotocols=["chat.v1", "chat.v2"]) as connection:
        assert connection.subprotocol is None
        await expect_echo(connection, "without a subprotocol")


@test
async def compression_offered(address):
    """websockets: an offer of compression leads to a working connection"""
    async with plain(address, compression="deflate") as connection:
        await expect_echo(connection, "compressible " * 5000)
        await expect_echo(connection, noise(5000))


@test
async def order_byte_for_byte(address):
    """websockets: 5,000 messages of mixed sizes come back in order, byte for byte"""
    lengths = [(number * 7919) % 3000 for number in range(5000)]
    async with plain(address) as connection:

        async def send_all():
            for number, length in enumerate(lengths):
                await connection.send(noise(length, seed=number))

        sending = asyncio.create_task(send_all())
        for number, length in enumerate(lengths):
            assert await connection.recv() == noise(length, seed=number), f"message {number} changed"
        await sending


@test
async def fifty_connections(address):
    """websockets: 50 connections at once each get their own answers"""

    async def one(number):
        async with plain(address) as connection:
            for count in range(40):
                await expect_echo(connection, f"{number}/{count}")
                await expect_echo(connection, noise(count * 50, seed=number))

    await asyncio.gather(*(one(number) for number in range(50)))


@test
async def late_reader(address):
    """websockets: a client that reads late gets every byte in order"""
    # max_queue stops the reading after two messages, so the server has to wait for this client.
    async with plain(address, max_queue=2) as connection:

        async def send_all():
            for number in range(64):
                await connection.send(noise(64 * 1024, seed=number))

        sending = asyncio.create_task(send_all())
        await asyncio.sleep(0.5)
        for number in range(64):
            assert await connection.recv() == noise(64 * 1024, seed=number), f"message {number} changed"
        await sending


@test
async def blocking_client(address):
    """websockets: the blocking client works as well"""

    def session():
        with connect_blocking(address, compression=None, max_size=16 * MIB) as connection:
            for payload in ["text", noise(200_000)]:
                connection.send(payload)
                assert connection.recv() == payload
            assert connection.ping().wait(5), "no pong within 5 s"
            connection.close(3333, "blocking")
            assert connection.close_code == 3333

    await asyncio.to_thread(session)


@test
async def aiohttp_messages(address):
    """aiohttp: text, binary and JSON come back"""
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=16 * MIB) as connection:
        await connection.send_str("Hello ✓")
        assert await connection.receive_str(timeout=5) == "Hello ✓"
        await connection.send_bytes(noise(MIB))
        assert await connection.receive_bytes(timeout=10) == noise(MIB)
        await connection.send_json({"numbers": [1, 2, 3], "text": "ü"})
        assert await connection.receive_json(timeout=5) == {"numbers": [1, 2, 3], "text": "ü"}


@test
async def aiohttp_ping(address):
    """aiohttp: a ping is answered with its payload"""
    async with aiohttp.ClientSession() as session, session.ws_connect(address, autoping=False) as connection:
        await connection.ping(b"payload")
        answer = await connection.receive(timeout=5)
        assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"payload"), f"got {answer}"


@test
async def aiohttp_close(address):
    """aiohttp: a close code is answered with the same code"""
    async with aiohttp.ClientSession() as session:
        for code in [1000, 3001, 4999]:
            connection = await session.ws_connect(address)
            await connection.close(code=code, message=b"reason")
            assert connection.close_code == code, f"sent {code}, got {connection.close_code}"


@test
async def aiohttp_options(address):
    """aiohttp: offers of compression and of an unknown subprotocol lead to a working connection"""
    offers = {"compress": 15, "protocols": ("chat.v1",)}
    async with aiohttp.ClientSession() as session, session.ws_connect(address, **offers) as connection:
        assert connection.protocol is None
        await connection.send_str("compressible " * 1000)
        assert await connection.receive_str(timeout=5) == "compressible " * 1000


@test
async def aiohttp_concurrent(address):
    """aiohttp: 50 connections at once each get their own answers in order"""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number):
            async with session.ws_connect(address) as connection:
                for count in range(100):
                    await connection.send_str(f"{number}/{count}")
                for count in range(100):
                    assert await connection.receive_str(timeout=10) == f"{number}/{count}"

        await asyncio.gather(*(one(number) for number in range(50)))


@test
async def aiohttp_page(address):
    """aiohttp: a plain request is answered with the page, and the connection can be used again"""
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(address.replace("ws", "http", 1)) as answer:
                assert answer.status == 200, f"status {answer.status}"
                assert answer.content_type == "text/html"
                assert "<title>Echo" in await answer.text()


def ending(server_pid):
    async def told_of_the_end(address):
        """websockets: connections open at SIGTERM are closed with 1001"""
        connections = [await plain(address) for _ in range(10)]
        for connection in connections:
            await expect_echo(connection, "before the end")
        os.kill(server_pid, signal.SIGTERM)
        for connection in connections:
            await asyncio.wait_for(connection.wait_closed(), 15)
            assert connection.close_code == 1001, f"closed with {connection.close_code}"

    return told_of_the_end


async def run(tests, address):
    """Runs the tests one after the other; returns how many failed."""
    failed = 0
    for number, function in enumerate(tests, 1):
        began = time.monotonic()
        error = None
        try:
            await asyncio.wait_for(function(address), TEST_SECONDS_MAX)
        except TimeoutError:
            error = f"not done after {TEST_SECONDS_MAX} s, or a wait inside took too long\n{traceback.format_exc()}"
        except Exception:
            error = traceback.format_exc()
        milliseconds = (time.monotonic() - began) * 1000
        print(f"{'not ok' if error else 'ok'} {number} - {function.__doc__} ({milliseconds:.0f} ms)", flush=True)
        if error:
            failed += 1
            print("  # " + error.rstrip().replace("\n", "\n  # "), flush=True)
    return failed


def main(arguments):
    tests = TESTS
    if len(arguments) == 3 and arguments[1] == "--end-server":
        tests = [ending(int(arguments[2]))]
    elif len(arguments) != 1:
        sys.exit(__doc__)
    failed = asyncio.run(run(tests, arguments[0]))
    passed = len(tests) - failed
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
