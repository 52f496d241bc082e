"""A relay that makes a link long: what it is sent it hands on after a while.

Run as a program on the lab's switch, since Linux's own emulation of latency is not in every
kernel. It listens on the ports that QEMU receives migrations on, at an address of its own, and
connects to the same port of the host it stands before. Like a TCP window, what is under way is
bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from functools import partial

CHUNK_BYTES = 64 << 10
MAX_CHUNKS_UNDER_WAY = 64


async def hand_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency_s: float
) -> None:
    """Copy one direction of a connection to its end."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS_UNDER_WAY)

    async def take_in() -> None:
        chunk = b"-"
        while chunk:
            chunk = await reader.read(CHUNK_BYTES)
            await under_way.put((clock() + latency_s, chunk))

    taking = asyncio.create_task(take_in())
    try:
        while True:
            due_at, chunk = await under_way.get()
            await asyncio.sleep(due_at - clock())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    finally:
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await taking


async def relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    target: str,
    port: int,
    latency_s: float,
) -> None:
    """Serve one connection; its end in one direction leaves the other open."""
    with contextlib.suppress(OSError):
        beyond_reader, beyond_writer = await asyncio.open_connection(target, port)
        with contextlib.closing(beyond_writer):
            await asyncio.gather(
                hand_on(reader, beyond_writer, latency_s),
                hand_on(beyond_reader, writer, latency_s),
            )
    writer.close()


async def serve(address: str, target: str, ports: range, latency_s: float) -> None:
    """Relay until killed, printing ``ready`` when every port is open."""
    async with contextlib.AsyncExitStack() as open_servers:
        for port in ports:
            serve_one = partial(relay, target=target, port=port, latency_s=latency_s)
            server = await asyncio.start_server(serve_one, address, port)
            await open_servers.enter_async_context(server)
        print("ready", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("target")
    parser.add_argument("first_port", type=int)
    parser.add_argument("last_port", type=int)
    parser.add_argument("latency_ms", type=float)
    given = parser.parse_args()
    ports = range(given.first_port, given.last_port + 1)
    asyncio.run(serve(given.address, given.target, ports, given.latency_ms / 1000))


if __name__ == "__main__":
    main()
