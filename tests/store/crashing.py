"""Kill a process that writes to a store, again and again, and look at what is left. Run as a program: it forks.

python -m tests.store.crashing FOLDER ROUNDS SEED
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import Block, Ipld
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.store.verify import verify
from ipvm_kernel.testing import filing, task

SECONDS = 0.25
"""How long a writer may live, at most."""


def value(number: int) -> Ipld:
    """Return what task `number` answers: mostly little, now and then enough for a file."""
    return bytes([number % 251]) * 100_000 if number % 9 == 0 else number


def write(folder: Path, first: int, seed: int, out: int) -> None:
    """File receipts for ever, and say which are acknowledged."""
    chance = random.Random(seed)
    store = SqliteStore(folder, limit_bytes=20_000_000)
    number = first
    while True:
        for _ in range(chance.randrange(1, 20)):
            store.file(filing(task(number), value(number)))
            store.put(Block.of(["block", number]))
            number += 1
        if chance.random() < 0.1:
            store.gc(to=chance.randrange(20_000_000))
        store.sync()
        os.write(out, f"{number}\n".encode())


def kill(folder: Path, first: int, seed: int) -> int:
    """Start a writer, kill it at a random moment, and return how far it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            write(folder, first, seed, writing)
        finally:
            os._exit(1)
    os.close(writing)
    end = time.monotonic() + random.Random(seed).uniform(0.0, SECONDS)
    said = b""
    while (rest := end - time.monotonic()) > 0:
        if select.select([reading], [], [], rest)[0]:
            said += os.read(reading, 4096) or b""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 4096):
        said += part
    os.close(reading)
    whole = said.rpartition(b"\n")[0].split(b"\n")
    return int(whole[-1]) if whole[-1] else first


def look(folder: Path, acknowledged: int) -> list[str]:
    """Return what is wrong with a store that acknowledged receipts 0 to `acknowledged`."""
    wrong: list[str] = []
    try:
        store = SqliteStore(folder)
        found = store.on_file([task(number).run.cid for number in range(acknowledged)])
        for number in range(acknowledged):
            one = found.get(task(number).run.cid)
            if one is None:
                wrong.append(f"receipt {number} is lost")
            elif one.receipt is not None and one.receipt.value != value(number):
                wrong.append(f"receipt {number} says something else")
            if store.size(Block.of(["block", number]).cid) is None:
                wrong.append(f"block {number} is lost")
        *_, verified = verify(store)
        wrong.extend(f"{cid} is bad" for cid in verified.bad)
        store.close()
    except IpvmError as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return wrong


def main(folder: Path, rounds: int, seed: int) -> None:
    """Kill writers, and print what was acknowledged and what is wrong."""
    wrong: list[str] = []
    acknowledged = 0
    for number in range(rounds):
        acknowledged = max(acknowledged, kill(folder, acknowledged, seed + number))
        wrong += [f"round {number}, seed {seed + number}: {what}" for what in look(folder, acknowledged)]
    print(json.dumps({"acknowledged": acknowledged, "wrong": wrong[:20]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
