"""Echo, or fan-out with "fan-out" among the arguments, on websockets. With "deflate" it compresses, with
"subprotocol" it chooses v2.

usage: python websockets_server.py PORT [fan-out] [deflate] [subprotocol]
"""

import asyncio
import sys

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

subscribers = set()


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
        pass  # Peers may end as they like.
    finally:
        subscribers.discard(socket)


async def main(port, *words):
    handler = fan_out if "fan-out" in words else echo
    options = {
        "compression": "deflate" if "deflate" in words else None,
        "subprotocols": ["v2"] if "subprotocol" in words else None,
    }
    async with serve(handler, "127.0.0.1", int(port), **options) as server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
