"""Read a layer as somebody else, in a process of its own. Run as a program, by root.

python -m tests.store.reading USER HOME LAYERS TASKS [follow]
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

from ipvm_kernel import Session
from ipvm_kernel.session import defaults
from ipvm_kernel.store import layered
from ipvm_kernel.testing import filing, task
from tests.guests import NUMBERS

NOBODY: Final = 65_534


def become(user: int) -> None:
    """Be an ordinary user from now on. Everything that is needed is loaded first: he may not read where Python is."""
    with Session() as warm:
        warm.module(NUMBERS).add_one(1).result()
        layered.opened(warm.store, "/nowhere")
        filing(task(1))
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def replay(tasks: int) -> dict[str, Any]:
    """Run some tasks in the default session, and return what was seen."""
    session = defaults.default()
    module = session.module(NUMBERS)
    handles = [module.add_one(n) for n in range(tasks)]
    run = session.run(handles).wait()
    usage = session.store.usage()
    large = session.store.pins().get("large")
    found: dict[str, Any] = {
        "counts": run.counts,
        "values": [handle.result() for handle in handles] == [n + 1 for n in range(tasks)],
        "layers": [(layer.own, layer.left_out) for layer in usage.layers],
        "why": [layer.why for layer in usage.layers],
        "notices": session.take_notices(),
        "large": len(session.store.read(large)) if large else None,
        "where": session.store.where,
    }
    session.close()
    return found


def follow() -> dict[str, Any]:
    """Look up receipts that somebody files meanwhile, until all are there, and return what was seen."""
    session = defaults.default()
    seen, looks = 0, 0
    print("ready", flush=True)
    while seen < 400:
        cids = [task(n).run.cid for n in range(400)]
        found = session.store.on_file(cids)
        assert len(found) >= seen
        assert all(one.receipt is not None and one.receipt.value == cids.index(cid) for cid, one in found.items())
        seen, looks = len(found), looks + 1
    return {"looks": looks, "notices": session.take_notices(), "layers": len(session.store.usage().layers)}


if __name__ == "__main__":
    user, home, folders, count = sys.argv[1:5]
    os.environ["IPVM_HOME"], os.environ["IPVM_LAYERS"] = home, folders
    become(int(user))
    print(json.dumps(follow() if sys.argv[5:] else replay(int(count))))
