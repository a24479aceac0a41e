"""Run a workflow of many tasks when told to, and print how each ended. Run as a program, several at once.

python -m tests.store.racing FOLDER TASKS
"""

from __future__ import annotations

import json
import sys
from typing import Final

from ipvm_kernel import Session

GUEST: Final = b"""
(module
  (func (export "work") (param $n i32) (result i32) (local $i i32)
    (local.set $i (i32.const 400000))
    (loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (i32.mul (local.get $n) (local.get $n))))
"""
"""A function that takes a moment, so that several processes are at it."""


def main(folder: str, tasks: int) -> None:
    """Run `tasks` distinct tasks, once a line was read."""
    with Session(folder) as session:
        work = session.module(GUEST).work
        print("ready", flush=True)
        sys.stdin.readline()
        run = session.run([work(n) for n in range(tasks)]).wait()
        values = [work(n).result() for n in range(tasks)]
    print(json.dumps({"counts": run.counts, "right": values == [n * n for n in range(tasks)]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
