"""Peers: who is connected, what goes to them, and whom to trust."""

from __future__ import annotations

import sys
from typing import Any

from ipvm.commands.things import cid_of
from ipvm.views import View, table
from ipvm_kernel import Handle, Run
from ipvm_kernel.node import control
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.session import default, home_folder, join_peers, joined_peers, leave_peers, trust_policy


def peer(address: str | None = None, *, publish: Any = None, find: Any = None, leave: bool = False) -> View:
    """Call a peer, a Homestar node or one of ours; or list those that are connected.

    Its receipts are kept as they come, and used once it is trusted (`trust`). Nothing of yours goes out but what
    `publish` names. A node that runs on this store takes part for all; without one, this process does while it lives.

    Args:
        address: Its multiaddr: /ip4/127.0.0.1/tcp/7000/p2p/12D3Koo...
        publish: Send the receipts of this workflow, run or task to the peers, and tell those that ask how far the workflow is.
            No module and no input is sent.
        find: Ask the peers for the receipt of this task.
        leave: Leave the network.
    """
    home = home_folder()
    if leave:
        left = leave_peers()
        return View("left the network" if left else "this process is in no network", data=[{"left": left}])
    there = control.lives(home)
    lines: list[str] = []
    data: list[Any] = []
    if address is not None:
        name = control.ask(home, "connect_peer", address)["peer_id"] if there else _own().network.connect(address)
        lines.append(
            f"connected to {name}" + ("" if trust_policy().trusts(name) else f"; to use its receipts: trust {name}")
        )
        data.append({"peer_id": name})
    if publish is not None:
        told = _publish(publish, node=there)
        lines.append(
            f"{plural(len(told['sent']), 'receipt')} sent to {plural(told['peers'], 'peer')}: {', '.join(told['sent'])}"
        )
        lines += [f"not sent: {line}" for line in told["left"]]
        data.append(told)
    if find is not None:
        instruction = default().instruction_of(cid_of(find)) if not isinstance(find, Handle) else find.cid
        if isinstance(find, Handle):
            default().keep_tasks([find.task])
        found = _find(instruction, node=there)
        lines.append(f"{plural(len(found), 'peer')} gave a receipt" if found else "no peer has a receipt of it")
        lines += [f"  {one['receipt']} from {one['peer']}" for one in found]
        data += found
    return View("\n".join(lines), data=data) if lines else _listed(node=there)


def _own() -> Any:
    if "ipykernel" not in sys.modules and "IPython" not in sys.modules:
        print("this process leaves the network when it ends; `ipvm node start` stays", file=sys.stderr)
    return join_peers(default())


def _publish(what: Any, *, node: bool) -> dict[str, Any]:
    if isinstance(what, Handle):
        default().keep_tasks(what.workflow.tasks)
        cid = default().store.put(what.workflow.block)
        default().store.sync()
    else:
        cid = what.workflow.cid if isinstance(what, Run) else cid_of(what)
    told: dict[str, Any] = (
        control.ask(home_folder(), "publish_receipts", str(cid)) if node else _own().publish_named(cid)
    )
    return told


def _find(instruction: Any, *, node: bool) -> list[dict[str, str]]:
    if node:
        found: list[dict[str, str]] = control.ask(home_folder(), "find_receipt", str(instruction))
        return found
    return [{"peer": one, "receipt": str(receipt)} for one, receipt in _own().find(instruction)]


def _listed(*, node: bool) -> View:
    if node:
        told = control.ask(home_folder(), "node")
        own, connected = told["static"]["peer_id"], told["dynamic"]["connections"]
        addresses = told["dynamic"]["listeners"]
    else:
        joined = joined_peers()
        if joined is None:
            return View("in no network: %ipvm peer ADDRESS calls a peer")
        own, connected, addresses = joined.network.peer_id, joined.network.peers, joined.network.addresses
    policy = trust_policy()
    rows = [
        [name, printable(where, limit=80), "trusted" if policy.trusts(name) else "-"]
        for name, where in connected.items()
    ]
    lines = [f"this is {own or 'in no network'}", *(f"  {where}" for where in addresses)]
    if rows:
        lines.append(table(rows, ["peer", "where", "trust"]))
    data = [{"peer_id": name, "address": where, "trusted": policy.trusts(name)} for name, where in connected.items()]
    return View("\n".join(lines), data=data)
