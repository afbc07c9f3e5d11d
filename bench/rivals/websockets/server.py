"""Echo, or fan-out with "fan-out" as second argument, on websockets under uvloop. Over TLS where TLS_CERT and
TLS_KEY name files.

usage: python server.py PORT [fan-out] [deflate]
"""

import os
import ssl
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

port, *words = sys.argv[1:]


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass  # Peers may end as they like.


async def fan_out(socket):
    subscribers.add(socket)
    try:
        async for message in socket:
            broadcast(subscribers, message)
    except ConnectionClosed:
        pass
    finally:
        subscribers.discard(socket)


def tls():
    if "TLS_CERT" not in os.environ:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERT"], os.environ["TLS_KEY"])
    return context


async def main():
    # The fastest level that there is.
    deflate = [ServerPerMessageDeflateFactory(compress_settings={"level": 1})] if "deflate" in words else None
    options = {"compression": None, "extensions": deflate, "ssl": tls(), "ping_interval": None, "max_size": 64 << 20}
    handler = fan_out if "fan-out" in words else echo
    async with serve(handler, "127.0.0.1", int(port), backlog=4096, **options) as server:
        await server.serve_forever()


subscribers = set()
uvloop.run(main())
