"""Keeping: what the store holds, whether it is whole, and what may go."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from ipvm import shared
from ipvm.commands.things import cid_of
from ipvm.views import View, table
from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.session import bytes_of, default

_PINS: Final = 20  # pins that are listed


def store() -> View:
    """Return what the store holds, and its limit."""
    usage = default().store.usage()
    limit = f" of {size(usage.limit_bytes)}" if usage.limit_bytes is not None else ""
    rows = [
        ["receipts", f"{usage.receipts:,}", ""],
        ["blocks", f"{usage.blocks:,}", size(usage.block_bytes)],
        ["files", f"{usage.files:,}", size(usage.file_bytes)],
        ["dropped to make room", f"{usage.dropped:,}", ""],
        ["runs", f"{usage.runs:,}", ""],
        ["pins", f"{usage.pins:,}", ""],
    ]
    text = f"{usage.where}: {size(usage.total_bytes)}{limit}\n{table(rows, ['what', 'count', 'size'])}"
    if usage.read_only:
        text += f"\n{usage.read_only}"
    for layer in usage.layers:
        held = f"{plural(layer.receipts, 'receipt')}, {size(layer.total_bytes)}"
        state = f"left out: {layer.why}" if layer.left_out else f"{held}, used as your own"
        if not layer.own and not layer.left_out:
            state = f"{held}, used as far as you trust who signed ({layer.why})"
        text += f"\nlayer {printable(layer.where, limit=200)}: {state}"
    kept = default().store.pins()
    text += "".join(f"\npin {printable(name, limit=120)}  {cid}" for name, cid in list(kept.items())[:_PINS])
    if len(kept) > _PINS:
        text += f"\n… and {plural(len(kept) - _PINS, 'pin')} more"
    data = {
        "where": usage.where, "bytes": usage.total_bytes, "limit": usage.limit_bytes, "receipts": usage.receipts,
        "blocks": usage.blocks, "files": usage.files, "dropped": usage.dropped, "runs": usage.runs, "pins": usage.pins,
        "pinned": [{"name": printable(name, limit=200), "cid": cid} for name, cid in kept.items()],
        "layers": [{"where": layer.where, "why": layer.why, "left_out": layer.left_out} for layer in usage.layers],
    }  # fmt: skip
    return View(text, data=[data])


def verify(sample: str = "100%") -> View:
    """Hash what the store holds, or a part of it, against its CIDs, and return what is not what was written.

    Args:
        sample: The part, "5%" say.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(sample))
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise BadInput(f"expected a part such as 5%, found {printable(str(sample), limit=40)!r}")
    last = None
    for last in default().verify(share):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{last.checked:,} checked", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    assert last is not None
    bad = "".join(f"\n  {cid}" for cid in last.bad)
    verdict = (
        f"{plural(len(last.bad), 'is', 'are')} not what was written:{bad}" if last.bad else "all are what was written"
    )
    text = f"{plural(last.checked, 'block')} and files, {size(last.size)}: {verdict}"
    return View(text, data=[{"checked": last.checked, "bytes": last.size, "bad": last.bad}], failed=bool(last.bad))


_SPANS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "": 86_400}


def gc(to: str | int | None = None, older: str | None = None, *, dry_run: bool = False) -> View:
    """Drop values of pure tasks, the least recently used first. Modules, inputs, effects and pins stay.

    Args:
        to: Until the store holds this much: "2 GB".
        older: Only what was not used for this long: "30 d".
        dry_run: Say what would go, and drop nothing.
    """
    span = None
    if older is not None:
        match = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", str(older).lower())
        if match is None or match[2] not in _SPANS:
            raise BadInput(f"expected a time such as '30 d' or '12 h', found {printable(str(older), limit=40)!r}")
        span = float(int(match[1]) * _SPANS[match[2]])
    collect = getattr(default().store, "gc", None)
    if collect is None:
        raise NotFound("this session keeps its receipts in memory: there is nothing to collect")
    dropped = collect(to=None if to is None else bytes_of(to), older=span, dry_run=dry_run)
    verb = "would be dropped" if dry_run else "dropped"
    text = f"{plural(dropped.count, 'value')}, {size(dropped.size)}, {verb}; their receipts' CIDs stay on file"
    return View(text, data=[{"count": dropped.count, "bytes": dropped.size, "cids": list(dropped.cids)}])


def forget(x: Any) -> View:
    """Take a task's receipts off file, so that it runs again; or a share and the receipts that came with it.

    Args:
        x: A handle, or the name or CID of one, or of its receipt; or the CID of a share.
    """
    session = default()
    cid = cid_of(x)
    if shared.is_share(session, cid):
        from ipvm_kernel.session import shares

        count = shares.forget(session, cid)
        return View(
            f"{cid} is pinned no longer, and {plural(count, 'receipt')} of others that came with it taken off file",
            data=[{"share": cid, "count": count}],
        )
    instruction = session.instruction_of(cid)
    count = session.forget([instruction])
    return View(
        f"{plural(count, 'receipt')} of {instruction.short} taken off file",
        data=[{"instruction": instruction, "count": count}],
    )


def pin(x: Any, name: str = "") -> View:
    """Keep what a CID reaches, whatever room is needed.

    Args:
        x: A name, a CID, or the short form of a CID.
        name: The name of the pin; the CID's short form if none is given.
    """
    cid = cid_of(x)
    label = name or cid.short
    default().store.pin(label, cid)
    return View(f"pinned {cid} as {printable(label, limit=80)!r}", data=[{"name": label, "cid": cid}])


def unpin(name: str) -> View:
    """Take a pin away.

    Args:
        name: Its name.
    """
    kept = default().store
    held = kept.unpin(name)
    if held is None:
        there = ", ".join(printable(pinned, limit=60) for pinned in list(kept.pins())[:12]) or "none"
        raise NotFound(f"no pin is called {printable(name, limit=60)!r}. There are: {there}")
    return View(f"unpinned {held}", data=[{"name": name, "cid": held}])
