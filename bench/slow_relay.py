"""A relay that is some way off: what stands between a client and a server hands each answer on a little later.

Each piece of an answer waits for itself, so answers to commands that were sent together come together. What a client
sends is handed on at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 65_536


@contextmanager
def slow_relay(port: int, delay: float) -> Iterator[int]:
    """The port of a relay whose answers come `delay` seconds after those of the server on `port`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, port, delay), daemon=True)
    process.start()
    try:
        yield int(ours.recv())
    finally:
        process.terminate()
        process.join()


def _serve(told: multiprocessing.connection.Connection, port: int, delay: float) -> None:
    asyncio.run(_relay(told, port, delay))


async def _relay(told: multiprocessing.connection.Connection, port: int, delay: float) -> None:
    async def connected(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, commands = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_hand_on(client, commands, 0.0), _hand_on(server, answers, delay))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    told.send(listening.sockets[0].getsockname()[1])
    await listening.serve_forever()


async def _hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while piece := await source.read(PIECE):
            if delay:
                loop.call_later(delay, target.write, piece)
            else:
                target.write(piece)
    loop.call_later(delay, target.close)
