"""Sharing: a notebook of 1,000 tasks is shared, opened, checked and replayed, beside the signatures and hashes alone."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import guests
from tests.benchmarks.engine import keep
from tests.benchmarks.measure import Benchmark, Line, Series

TASKS: Final = 1_000
_HOME: Final = "shared-home"
_NOTEBOOK: Final = "thousand.ipynb"
_CAR: Final = "thousand.car"


def prepare(folder: str) -> None:
    """Run 1,000 tasks, write the notebook whose outputs name their receipts, and share it once."""
    from ipvm_kernel import Session
    from ipvm_kernel.session import shares

    keep(folder, "add-one", guests.ADD_ONE)
    home = Path(folder) / _HOME
    with Session(home) as session:
        function = session.module(Path(folder) / "add-one.wasm").add_one
        run = session.run([function(n) for n in range(TASKS)]).wait()
        receipts = {str(cid): str(receipt) for cid, receipt in run.receipt_cids.items()}
        workflow = str(run.workflow.cid)
    (Path(folder) / _NOTEBOOK).write_text(json.dumps(_notebook(receipts, workflow)))
    copy = Path(folder) / "first"
    shutil.copytree(home, copy)
    with Session(copy) as session:
        made = shares.seal(session, shares.prepare(session, Path(folder) / _NOTEBOOK))
        shares.write_archive(session, made.cid, Path(folder) / _CAR)


def _notebook(receipts: dict[str, str], workflow: str) -> dict[str, Any]:
    about = {"ipvm": {"cell": "one", "workflows": [workflow], "receipts": receipts}}
    output = {"output_type": "display_data", "data": {"text/plain": "1,000 tasks"}, "metadata": about}
    cell = {
        "cell_type": "code", "id": "one", "source": "%%ipvm\nmany = add_one.map(range(1000))", "metadata": {},
        "execution_count": 1, "outputs": [output],
    }  # fmt: skip
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}


def sharing(folder: str) -> Series:
    """Share it for the first time: gather, sign each receipt, write the archive."""
    from ipvm_kernel import Session
    from ipvm_kernel.session import shares

    home = Path(folder) / f"home-{time.monotonic_ns()}"
    shutil.copytree(Path(folder) / _HOME, home)
    with Session(home) as session:
        _ready()
        began = time.perf_counter()
        made = shares.seal(session, shares.prepare(session, Path(folder) / _NOTEBOOK))
        size = shares.write_archive(session, made.cid, home / _CAR)
        taken = time.perf_counter() - began
    shutil.rmtree(home)
    return {"share": taken, "archive": float(size)}


def reading(folder: str) -> Series:
    """Open it as somebody else, check it, and replay it once its signer is trusted."""
    from ipvm_kernel import Session, Workflow
    from ipvm_kernel.session import shares

    home = Path(folder) / f"reader-{time.monotonic_ns()}"
    car = Path(folder) / _CAR
    with Session(home) as session:
        _ready()
        began = time.perf_counter()
        root, _ = shares.arrive(session, car)
        shares.write_notebook(session, root, home / "opened")
        taken = {"open": time.perf_counter() - began}
        began = time.perf_counter()
        found = shares.check(session, car)
        taken["check"] = time.perf_counter() - began
        assert len(found.receipts) == TASKS
        signer = next(iter({did for signed in found.signed.values() for did in signed}))
        session.policy.trust_key(signer)
        workflow = Workflow.from_block(session.store.get(shares.share_of(session, root).share.workflows[0]))
        began = time.perf_counter()
        counts = session.run(workflow).wait().progress.counts
        taken["replay"] = (time.perf_counter() - began) / TASKS
        assert counts == {"replayed": TASKS}
    shutil.rmtree(home)
    return taken


def signatures(folder: str) -> Series:
    """Check 1,000 signatures, and do nothing else; hash the archive, and do nothing else."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public, data = key.public_key(), [str(n).encode() * 80 for n in range(TASKS)]
    signed = [key.sign(one) for one in data]
    began = time.perf_counter()
    for signature, one in zip(signed, data, strict=True):
        public.verify(signature, one)
    taken = time.perf_counter() - began
    began = time.perf_counter()
    for one in data:
        key.sign(one)
    made = time.perf_counter() - began
    began = time.perf_counter()
    hashlib.sha3_256((Path(folder) / _CAR).read_bytes()).digest()
    return {"1,000 signatures checked": taken, "1,000 signatures": made, "one hash": time.perf_counter() - began}


def _ready() -> None:
    """Load what is loaded with the first use, which is measured elsewhere."""
    from ipvm_kernel.sharing import notebook
    from ipvm_kernel.trust.keys import Key

    Key.fresh().sign(b"")
    notebook.read(json.dumps(_notebook({}, "")).encode())


BENCHMARKS = [
    Benchmark(
        name="sharing",
        prepare=prepare,
        samples=(sharing, reading, signatures),
        lines=(
            Line(work="share a notebook of 1,000 tasks, signed", ours="share", peers=("1,000 signatures",)),
            Line(work="its archive", ours="archive", unit="B"),
            Line(
                work="open it: every block checked, kept, notebook written",
                ours="open",
                peers=("1,000 signatures checked",),
            ),
            Line(work="check it: every receipt and statement", ours="check", peers=("1,000 signatures checked",)),
            Line(work="replay it, a receipt that somebody trusted signed", ours="replay"),
        ),
    )
]
