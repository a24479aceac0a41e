from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadWorkflow, Malformed, NotFound
from ipvm_kernel.ipld import CID, Block, dagjson, encode
from ipvm_kernel.model import (
    Awaited,
    Instruction,
    Invocation,
    Outcome,
    Promise,
    Receipt,
    Task,
    Workflow,
    failure,
    promises,
    resolve,
)
from tests.ipld.values import LINK, same, texts, values

if TYPE_CHECKING:
    from pathlib import Path

MODULE = CID.of(b"module", "raw", "sha2-256")


def wire(**changes: Any) -> dict[str, Any]:
    return {"rsc": f"ipfs://{MODULE}", "op": "wasm/run", "input": {"func": "f", "args": [1]}, "nnc": "", **changes}


def file(*runs: Any, **task: Any) -> dict[str, Any]:
    return {"tasks": [{"run": run, "cause": None, "meta": {}, "prf": [], **task} for run in runs]}


# --- instructions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", ["", bytes(12), bytes(16), "0" * 20, "v" * 26], ids=repr)
def test_nonces(nonce: str | bytes) -> None:
    """
    A nonce is empty, 12 or 16 bytes, or those as base32hex; each form is another instruction.
    """
    read = Instruction.from_ipld(wire(nnc=nonce))

    assert read.nnc == nonce
    assert read.block.value() == wire(nnc=nonce)
    assert read.cid == Block.of(wire(nnc=nonce)).cid


@pytest.mark.parametrize("nonce", [bytes(11), bytes(13), b"", "0" * 19, "0" * 21, "w" * 20, "A" * 20, "x"], ids=repr)
def test_other_nonces(nonce: str | bytes) -> None:
    """
    Whatever else is no nonce, and the message names the place.
    """
    with pytest.raises(Malformed, match=r"nonce .* at `\$\.nnc`"):
        Instruction.from_ipld(wire(nnc=nonce))


@pytest.mark.parametrize("nonce", [None, 5, [], {}], ids=repr)
def test_a_nonce_of_another_kind_is_none(nonce: object) -> None:
    """
    A nonce that is missing, or neither text nor bytes, is the empty one, as Homestar reads it.
    """
    absent = {key: value for key, value in wire().items() if key != "nnc"}

    assert Instruction.from_ipld(wire(nnc=nonce)) == Instruction.from_ipld(absent) == Instruction.from_ipld(wire())


def test_a_link_as_resource() -> None:
    """
    A link as `rsc` is the address of its CID.
    """
    linked = Instruction.from_ipld(wire(rsc=MODULE))

    assert linked == Instruction.from_ipld(wire())
    assert linked.rsc == f"ipfs://{MODULE}"
    assert linked.module == MODULE
    assert Instruction.from_ipld(wire(rsc="https://example.com/x.wasm")).module is None


def test_what_an_instruction_says_of_itself() -> None:
    """
    Function and arguments are those of a Wasm instruction; another one has the operation for a name, and no arguments.
    """
    other = Instruction.from_ipld(wire(op="ipvm/build", input={"lang": "zig"}))

    assert (Instruction.from_ipld(wire()).func, Instruction.from_ipld(wire()).args) == ("f", [1])
    assert (other.func, other.args) == ("ipvm/build", [])


# --- promises ---------------------------------------------------------------------------------------------------------


def test_promises_at_any_depth() -> None:
    """
    A promise is found wherever it stands, in order.
    """
    inner = {"deep": [{"await/error": LINK}, [[{"await/*": MODULE}]]]}
    run = Instruction.from_ipld(wire(input={"func": "f", "args": [{"await/ok": MODULE}, inner, {"await/ok": LINK}]}))

    assert run.awaits == (Promise("ok", MODULE), Promise("error", LINK), Promise("*", MODULE), Promise("ok", LINK))


@pytest.mark.parametrize(
    "data",
    [
        ["ok", 1],
        ["error", "x"],
        {"any": LINK},
        {"await/ok": "text"},
        {"await/ok": LINK, "more": 1},
        {"await/ok": {"await/ok": 1}},
        {"await/any": LINK},
        {"ucan/ok": LINK},
        str(LINK),
        f"ipfs://{LINK}",
        "null",
        LINK,
    ],
    ids=repr,
)
def test_data_is_never_control(data: Any) -> None:
    """
    Tagged pairs, links under other names and texts that look like CIDs are data: nothing is awaited, nothing is changed.
    """
    run = Instruction.from_ipld(wire(input={"func": "f", "args": [data]}))

    assert run.awaits == ()
    assert run.args == [data]
    assert resolve(run.input, _never) == run.input
    assert dagjson.loads(dagjson.dumps(run.to_ipld())) == run.to_ipld()


def _never(promise: Promise) -> Awaited:
    raise AssertionError(promise)


@given(values, st.sampled_from(["ok", "error", "*"]))
def test_promises_are_replaced_and_nothing_else(value: Any, branch: Any) -> None:
    """
    Resolving puts answers where promises stood, and leaves the rest as it is.
    """
    promise = Promise(branch, LINK)
    tree = [value, {"a": promise.to_ipld(), "b": [promise.to_ipld()]}]
    asked: list[Promise] = []

    def answer(found: Promise) -> Awaited:
        asked.append(found)
        return Awaited("answer")

    resolved = resolve(tree, answer)

    assert promise in list(promises(tree))
    assert asked == list(promises(tree))
    assert resolved[1] == {"a": Awaited("answer"), "b": [Awaited("answer")]}
    if not list(promises(value)):
        assert same(resolved[0], value)


# --- tasks, receipts --------------------------------------------------------------------------------------------------


@given(texts, st.dictionaries(texts, values, max_size=3), st.lists(st.just(LINK), max_size=2), values)
def test_tasks_come_back(func: str, meta: dict[str, Any], prf: list[CID], arg: Any) -> None:
    """
    A task and its invocation are read from their own blocks, unknown keys of `meta` and all.
    """
    run = Instruction(rsc="ipfs://x", op="wasm/run", input={"func": func, "args": [arg]})
    task = Task(run=run, cause=LINK, meta=meta, prf=prf)

    assert Task.from_block(task.block) == task
    assert Invocation.from_block(task.invocation.block).task == task
    assert task.block == Block.of(task.to_ipld())
    assert task.invocation.block == Block.of({"task": task.to_ipld()})
    assert Instruction.from_block(task.run.block) == run
    assert task.block.value() == {"run": run.to_ipld(), "cause": LINK, "meta": meta, "prf": prf}


@given(values, st.sampled_from(["ok", "error", "just"]))
def test_receipts_come_back(value: Any, tag: Any) -> None:
    """
    A receipt is read from its own block, whatever it says, with and without checking.
    """
    receipt = Receipt(ran=LINK, out=Outcome(tag, value), meta={"op": "f"}, iss="did:key:z6Mk", prf=[LINK])

    assert Receipt.from_block(receipt.block) == receipt
    assert Receipt.trusted(receipt.block) == receipt
    assert same(Receipt.from_block(receipt.block).out.value, value)
    assert receipt.block.value() == {
        "ran": LINK,
        "out": [tag, value],
        "meta": {"op": "f"},
        "iss": "did:key:z6Mk",
        "prf": [LINK],
    }


def test_what_a_receipt_says() -> None:
    """
    A receipt has a value or an error; "just" is Homestar's third word, and means ok.
    """
    good, just = (Receipt(ran=LINK, out=Outcome(tag, 5), meta={"op": "f"}) for tag in ("ok", "just"))
    bad = Receipt(ran=LINK, out=failure("trap", "it did", {"at": 1}), meta=None)

    assert [(r.ok, r.value, r.error) for r in (good, just)] == [(True, 5, None)] * 2
    assert (bad.ok, bad.value) == (False, None)
    assert bad.error == {"kind": "trap", "message": "it did", "detail": {"at": 1}}
    assert (good.func, bad.func) == ("f", "?")


# --- workflows --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**63), unique=True, max_size=5), texts)
def test_workflows_come_back(numbers: list[int], func: str) -> None:
    """
    A workflow is read from its JSON, from its CBOR and from its block, and is the same.
    """
    workflow = Workflow.of(
        Task(run=Instruction(rsc="ipfs://x", op="wasm/run", input={"func": func, "args": [n]})) for n in numbers
    )

    assert Workflow.parse(dagjson.dumps(workflow.to_ipld())) == workflow
    assert Workflow.parse(dagjson.dumps(workflow.to_ipld(), pretty=True).encode()) == workflow
    assert Workflow.parse(workflow.block.data) == workflow
    assert Workflow.from_block(workflow.block) == workflow
    assert len(workflow) == len(numbers)


def test_numbers_beyond_64_bits() -> None:
    """
    An integer above 2^64-1 in a file is read as a float, as Homestar reads it.
    """
    text = dagjson.dumps(file(wire())).replace('"meta":{}', '"meta":{"fuel":18446744073709552000}')

    (task,) = Workflow.parse(text).tasks
    assert repr(task.meta["fuel"]) == "1.8446744073709552e+19"


def test_equal_tasks_once() -> None:
    """
    Tasks with one instruction are one task of a workflow.
    """
    one, two = (Task(run=Instruction.from_ipld(wire()), meta=meta) for meta in ({}, {"time": 5}))

    assert len(Workflow.of([one, two])) == 1


def test_duplicates_in_a_file() -> None:
    """
    A file with one instruction twice is refused, and the message says which tasks and what to do.
    """
    with pytest.raises(BadWorkflow, match="cannot contain duplicate tasks; use a nonce") as caught:
        Workflow.from_ipld(file(wire(), wire(input={"func": "g", "args": []}), wire()))
    assert "tasks 0 and 2 (f)" in str(caught.value)
    assert len(Workflow.from_ipld(file(wire(), wire(nnc=bytes(12))))) == 2


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "`$`"),
        ({}, "`$`"),
        ({"tasks": {}}, "`$`"),
        ({"tasks": [], "more": 1}, "`$`"),
        ({"tasks": [5]}, "`$.tasks[0]`"),
        (file(LINK), "`$.tasks[0].run`"),
        (file(wire(rsc=5)), "`$.tasks[0].run.rsc`"),
        (file(wire(), wire(op=None)), "`$.tasks[1].run.op`"),
        (file(wire(nnc="x")), "`$.tasks[0].run.nnc`"),
        (file(wire(), prf=5), "`$.tasks[0].prf`"),
        (file(wire(), prf=["x"]), "`$.tasks[0].prf[0]`"),
        (file(wire(), cause="x"), "`$.tasks[0].cause`"),
        (file(wire(), meta=[]), "`$.tasks[0].meta`"),
        (file({**wire(), "extra": 1}), "`extra`"),
        (file(wire(), extra=1), "`extra`"),
        ({"tasks": [{"cause": None}]}, "`$.tasks[0].run`"),
    ],
)
def test_messages_name_the_place(value: Any, place: str) -> None:
    """
    What is wrong with a file is said with the path to it.
    """
    with pytest.raises(Malformed) as caught:
        Workflow.from_ipld(value)
    assert place in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    """
    A file that is not there, or holds something else, is refused in one line.
    """
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "number").write_bytes(encode(5))

    with pytest.raises(NotFound, match="no workflow at"):
        Workflow.load(tmp_path / "absent")
    for name in ("text", "empty", "number"):
        with pytest.raises(Malformed):
            Workflow.load(tmp_path / name)


def test_the_wrapping_of_rpc() -> None:
    """
    A file that wraps its workflow as Homestar's RPC does is that workflow.
    """
    plain = dagjson.dumps(file(wire()))

    assert Workflow.parse(f'{{"name": "x", "workflow": {plain}}}') == Workflow.parse(plain)


def test_texts_of_any_language(tmp_path: Path) -> None:
    """
    A workflow with text of any language is saved and loaded whatever the locale says.
    """
    workflow = Workflow.from_ipld(file(wire(input={"func": "grüßen", "args": ["日本語 \U0001f642"]})))

    assert Workflow.load(workflow.save(tmp_path / "file.json")) == workflow
    assert "日本語" in (tmp_path / "file.json").read_bytes().decode("utf-8")


# --- templates --------------------------------------------------------------------------------------------------------


def template(**runs: Any) -> str:
    tasks: list[Any] = [
        {"run": {**wire(input={"func": "f", "args": args}), "name": name}, "cause": None, "meta": {}, "prf": []}
        for name, args in runs.items()
    ]
    return dagjson.dumps({"tasks": tasks})


def test_a_template() -> None:
    """
    Tasks of a template name each other, in any order; names are no part of any CID.
    """
    filled = Workflow.parse(
        template(
            last=["{{needs.middle.output}}", {"a": [" {{ needs.first.output }} "]}],
            first=[1, f"{{{{cid:{LINK}}}}}"],
            middle=["{{needs.first.output}}"],
        )
    )
    first = Instruction.from_ipld(wire(input={"func": "f", "args": [1, LINK]}))
    middle = Instruction.from_ipld(wire(input={"func": "f", "args": [Promise("ok", first.cid).to_ipld()]}))
    last = [Promise("ok", middle.cid).to_ipld(), {"a": [Promise("ok", first.cid).to_ipld()]}]

    assert [task.run for task in filled.tasks] == [
        Instruction.from_ipld(wire(input={"func": "f", "args": last})),
        first,
        middle,
    ]


def test_a_circle() -> None:
    """
    Tasks that need each other in a circle are refused, and the circle is printed.
    """
    with pytest.raises(BadWorkflow, match=r"in a circle: (a → b → c → a|b → c → a → b|c → a → b → c)"):
        Workflow.parse(
            template(
                start=[1],
                a=["{{needs.b.output}}", "{{needs.start.output}}"],
                b=["{{needs.c.output}}"],
                c=["{{needs.a.output}}"],
                end=["{{needs.a.output}}"],
            )
        )
    with pytest.raises(BadWorkflow, match="in a circle: a → a"):
        Workflow.parse(template(a=["{{needs.a.output}}"]))


def test_templates_that_are_wrong() -> None:
    """
    A need that nobody meets, a name given twice and a CID that is none are refused by name.
    """
    twice = dagjson.loads(template(a=[1], b=[2]))
    twice["tasks"][1]["run"]["name"] = "a"  # type: ignore[index, call-overload]

    with pytest.raises(BadWorkflow, match=r"task 0 needs 'b', which no task .* is called. There are: a"):
        Workflow.parse(template(a=["{{needs.b.output}}"]))
    with pytest.raises(BadWorkflow, match="tasks 0 and 1 are both called 'a'"):
        Workflow.parse(dagjson.dumps(twice))
    with pytest.raises(BadWorkflow, match="cid:nonsense"):
        Workflow.parse(template(a=["{{cid:nonsense}}"]))


def test_a_long_template() -> None:
    """
    A template of thousands of tasks in a row is filled without recursion.
    """
    runs: dict[str, Any] = {"t0": [1]}
    for n in range(1, 3000):
        runs[f"t{n}"] = [f"{{{{needs.t{n - 1}.output}}}}"]

    workflow = Workflow.parse(template(**dict(reversed(runs.items()))))

    assert len(workflow) == 3000
    assert sum(map(len, workflow.awaits().values())) == 2999


def test_text_that_only_looks_like_a_template() -> None:
    """
    Without names there is no template: expressions in a plain file are text.
    """
    workflow = Workflow.from_ipld(file(wire(input={"func": "f", "args": ["{{needs.x.output}}"]})))

    assert workflow.tasks[0].run.args == ["{{needs.x.output}}"]
    assert Workflow.parse(dagjson.dumps(workflow.to_ipld())) == workflow
