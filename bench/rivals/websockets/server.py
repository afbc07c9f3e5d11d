"""Echo, or fan-out with "fan-out" as second argument, on websockets under uvloop.

usage: python server.py PORT [fan-out] [deflate]
"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

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


async def main():
    options = {"compression": "deflate" if "deflate" in words else None, "ping_interval": None, "max_size": 64 << 20}
    handler = fan_out if "fan-out" in words else echo
    async with serve(handler, "127.0.0.1", int(port), backlog=4096, **options) as server:
        await server.serve_forever()


subscribers = set()
uvloop.run(main())
