"""Workflows by number: the same number gives the same workflow, on every machine."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from ipvm_kernel.model import Instruction, Promise, Task, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipvm_kernel.ipld import CID

LETTERS = "abcXYZ 0189-_.,:/\\\"'{}[]\n\t\x7fäßéñ€中🙂\u202e"
FLOATS = (0.0, -0.0, 1.0, -1.5, 0.1, 1e300, -1e-300, 5e-324, 1.7976931348623157e308, 2.0**53, 1 / 3)
INTEGERS = (0, 1, -1, 23, 24, 255, 256, 65_535, 65_536, 2**31 - 1, -(2**31))


class Maker:
    """Makes workflows of functions of `modules.SOURCE`, whose tasks all succeed and are all different.

    Args:
        rsc: The module's address.
        links: Files that Homestar can fetch too.
    """

    def __init__(self, rsc: str, links: Sequence[CID]) -> None:
        self._rsc = rsc
        self._links = links
        self._common = False

    def workflow(self, seed: int) -> Workflow:
        """Return the workflow of a number: one to six tasks, some of which await others."""
        dice = random.Random(f"ipvm and Homestar {seed}")
        made: dict[CID, Task] = {}
        answers: dict[str, list[CID]] = {}
        for _ in range(dice.randint(1, 6)):
            self._common = False
            func, gives, args = self._call(dice, answers)
            # Homestar hangs on a workflow that is known in part (`homestar.md` 1.7), so no two of them share a task.
            nnc = self._nonce(dice, 4 if self._common else 6)
            run = Instruction(rsc=self._rsc, op="wasm/run", input={"func": func, "args": args}, nnc=nnc)
            if run.cid not in made:
                made[run.cid] = Task(run=run, meta=self._meta(dice))
                answers.setdefault(gives, []).append(run.cid)
        tasks = list(made.values())
        dice.shuffle(tasks)  # the order of a file is not the order of its promises
        return Workflow(tasks=tuple(tasks))

    def _call(self, dice: random.Random, answers: dict[str, list[CID]]) -> tuple[str, str, list[Any]]:
        """Return a function as it is written, the type that it gives, and arguments."""

        def either(kind: str, value: Callable[[], Any]) -> Any:
            known = answers.get(kind)
            return Promise("ok", dice.choice(known)).to_ipld() if known and dice.random() < 0.6 else value()

        def common(value: Any) -> Any:
            self._common = True
            return value

        def integer() -> int:
            return common(dice.choice(INTEGERS)) if dice.random() < 0.2 else dice.randint(-(2**31), 2**31 - 1)

        def text() -> str:
            return "".join(dice.choices(LETTERS, k=dice.randint(5, 30)))

        def number() -> float:
            return common(dice.choice(FLOATS)) if dice.random() < 0.3 else dice.uniform(-1e9, 1e9)

        def data() -> Any:
            return common(dice.choice(self._links)) if dice.random() < 0.4 else dice.randbytes(dice.randint(4, 300))

        def large() -> int:
            return dice.randint(-(2**62), 2**62)

        match dice.randrange(11):
            case 0 | 1:
                return (
                    dice.choice(["add-one", "add_one", "addOne", "AddOne", "ADD-ONE"]),
                    "s32",
                    [either("s32", integer)],
                )
            case 2:
                return "add", "s32", [either("s32", integer), either("s32", integer)]
            case 3:
                return "join", "text", [either("text", text), either("text", text)]
            case 4:
                return "half", "f64", [either("f64", number)]
            case 5:
                return "reversed", "bytes", [either("bytes", data)]
            case 6:
                return "size", "u32", [either("bytes", data)]
            case 7:
                return "doubled", "s64s", [[large() for _ in range(dice.randint(1, 20))]]
            case 8:
                return "total", "s32", [[integer() for _ in range(dice.randint(1, 20))]]
            case 9:
                point = {"x": integer(), "y": number(), "name": text()}
                return "moved", "point", [either("point", lambda: point)]
            case _:
                return "checked", "either", [common(dice.randint(-100, 100))]

    def _nonce(self, dice: random.Random, sides: int) -> str | bytes:
        base32hex = "0123456789abcdefghijklmnopqrstuv"
        match dice.randrange(sides):
            case 0:
                return dice.randbytes(12)
            case 1:
                return dice.randbytes(16)
            case 2:
                # The last letter of an xid has four bits and of a UUID two: anything else is not what Homestar gives back.
                return "".join(dice.choices(base32hex, k=19)) + dice.choice("0g")
            case 3:
                return "".join(dice.choices(base32hex, k=25)) + dice.choice("048cgkos")
            case _:
                return ""

    def _meta(self, dice: random.Random) -> dict[str, Any]:
        return dice.choice(
            [
                {},
                {"memory": 4_294_967_296, "time": 100_000},
                {"fuel": 18_446_744_073_709_551_615, "memory": 4_294_967_296, "time": 100_000},
                {"fuel": 18_446_744_073_709_551_616.0, "time": 100_000},
                {"time": 60_000, "note": dice.choice(["a", "ä", ""]), "tags": [1, None, True, 2.5, b"x"]},
            ]
        )
