"""A WebSocket client that does as little as it can, over asyncio: for peers that misbehave.

Masks with zeros, answers nothing by itself and checks only what a caller asks for.
"""

import asyncio
import os
import socket
import ssl
import struct

REQUEST = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
PATIENCE_SECONDS = 30


def frame(payload, opcode=2, fin=True):
    """A frame of a client."""
    first = (0x80 if fin else 0) | opcode
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + payload


def trusting_all():
    """A context for certificates of one's own issue."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def connect(address, receive_buffer=None, secured=False):
    """A connection without a handshake of WebSocket."""
    connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connected.setblocking(False)
    if receive_buffer:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connected, address), PATIENCE_SECONDS)
        # Readers stop reading from the socket when they hold this much.
        limit = receive_buffer or 1 << 20
        context = trusting_all() if secured else None
        name = "localhost" if secured else None
        return await asyncio.open_connection(sock=connected, limit=limit, ssl=context, server_hostname=name)
    except BaseException:
        connected.close()
        raise


async def open_socket(address, **options):
    """A connection whose handshake is complete."""
    reader, writer = await connect(address, **options)
    writer.write(REQUEST)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(head.decode(errors="replace"))
    return reader, writer


async def read_frame(reader):
    """Opcode and payload of the next frame of a server."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    return first & 0xF, await reader.readexactly(length)


def reset(writer):
    """Tears a connection down with RST."""
    connected = writer.get_extra_info("socket")
    if connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Bystander:
    """Connections that send something now and then and want it back: what everybody else notices of a fault."""

    def __init__(self, address, connections=8, secured=False, pause=0.01):
        self._address, self._connections, self._secured, self._pause = address, connections, secured, pause
        self.seconds = []
        self.failures = []
        self._tasks = []
        # Before Python 3.12 `wait_for` swallows a cancellation that comes together with what it waits for.
        self._is_over = False

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._talk()) for _ in range(self._connections)]
        await asyncio.sleep(0.3)
        self.seconds.clear()
        return self

    async def __aexit__(self, *_):
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self):
        loop = asyncio.get_running_loop()
        writer = None
        try:
            reader, writer = await open_socket(self._address, secured=self._secured)
            while not self._is_over:
                payload = os.urandom(64)
                began = loop.time()
                writer.write(frame(payload))
                opcode, echo = await asyncio.wait_for(read_frame(reader), PATIENCE_SECONDS)
                while opcode == 9:
                    opcode, echo = await asyncio.wait_for(read_frame(reader), PATIENCE_SECONDS)
                if echo != payload:
                    raise ConnectionError("something else came back")
                self.seconds.append(loop.time() - began)
                await asyncio.sleep(self._pause)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            if writer:
                writer.transport.abort()

    def p99(self):
        """Seconds that one answer in a hundred takes longer than."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else float("inf")
