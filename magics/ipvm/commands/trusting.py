"""Trusting: whose receipts are used, of whom how many must agree, who may run here, and whose word counts no longer."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from ipvm.commands.things import cid_of
from ipvm.views import View, table
from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.session import admit_peer, default, trust_policy

if TYPE_CHECKING:
    from ipvm_kernel import CID

_WORDS: Final = ("add", "remove", "allow", "quorum", "optimistic", "revoke")
_OPTIONS: Final = {
    "--for": ("add", "allow"),
    "--name": ("add", "allow"),
    "--sample": ("optimistic",),
    "--until": ("allow",),
    "--remove": ("add", "remove"),
}
_SPANS: Final = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST: Final = 100 * 366 * 86_400.0


def trust(
    what: str | None = None,
    who: str | None = None,
    *,
    module: Any = None,
    name: str = "",
    sample: str | None = None,
    until: str | None = None,
    remove: bool = False,
) -> View:
    """Say whose receipts are used from now on, those that came before too, and who may run on your node; or list them.

    What you decide holds at once, in every kernel, and is looked at with each use. Whose receipts are used may not run here
    for that, nor the other way round.

    Args:
        what: `add` or `remove` a key or peer; `quorum` of how many keys that you trust must say the same (1); `optimistic`,
            to use what anybody signed while a part of it is run again here; `allow` a DID to run tasks on your node;
            `revoke` a statement, or what you allowed. A DID or the id of a peer alone is added.
        who: A DID (did:key:z6Mk...) or the id of a peer (12D3Koo...); a number; `on` or `off`; the CID of a statement.
        module: For the tasks of this module alone.
        name: What to call it.
        sample: The part that is run again with `optimistic`, "5%" say.
        until: How long what you `allow` holds, "12 h" say (30 d).
        remove: Trust it no longer.
    """
    policy = trust_policy()
    if what is None:
        return _listed()
    if what not in _WORDS:
        if who is not None:
            raise BadInput(f"expected one of {', '.join(_WORDS)}, found {printable(what, limit=40)!r}")
        what, who = "add", what
    given = {"--for": module is not None, "--name": bool(name), "--sample": sample is not None}
    given |= {"--until": until is not None, "--remove": remove}
    for option, words in _OPTIONS.items():
        if given[option] and what not in words:
            raise BadInput(f"expected {option} with {' or '.join(words)} alone, found it with {what}")
    if remove:
        what = "remove"
    if who is None:
        wanted = {"quorum": "a number", "optimistic": "on or off", "revoke": "the CID of a statement", "allow": "a DID"}
        raise BadInput(f"expected {wanted.get(what, 'a DID or the id of a peer')} after {what!r}, found nothing")
    match what:
        case "add":
            return _add(who, None if module is None else cid_of(module), name)
        case "allow":
            return _allow(who, None if module is None else cid_of(module), name, "30 d" if until is None else until)
        case "remove":
            gone = policy.distrust_key(who) if who.startswith("did:") else policy.distrust(who)
            shown = printable(who, limit=80)
            told = f"{shown} is trusted no longer" if gone else f"{shown} was not trusted"
            still = [link.cid for _, link in _allowed() if link.audience == who]
            told += "".join(f"\nit may run here still, until you say: ipvm trust revoke {cid}" for cid in still)
            return View(told, data=[{"removed": gone, "may_run_by": still}])
        case "quorum":
            policy.set_quorum(_number(who))
            return View(
                f"a receipt of others is used if {plural(policy.quorum, 'key')} that you trust signed it",
                data=[{"quorum": policy.quorum}],
            )
        case "optimistic":
            return _optimistic(who, sample)
    cid = cid_of(who)
    revoked = policy.revoke(cid)
    return View(f"{cid} {'counts no longer' if revoked else 'was revoked already'}", data=[{"revoked": cid}])


def _add(who: str, module: CID | None, name: str) -> View:
    policy = trust_policy()
    if not who.startswith("did:"):
        if module is not None or name:
            raise BadInput(
                "expected a DID with --for or --name, found a peer: it is trusted for all modules, by its id"
            )
        count = admit_peer(default(), policy, who)
        return View(
            f"{who} is trusted; {plural(count, 'receipt')} of it may be used now",
            data=[{"peer_id": who, "receipts": count}],
        )
    policy.trust_key(who, module, name)
    back = policy.release(who)
    where = f"for the module {module}" if module is not None else "for all modules"
    again = "; it was put aside, and counts again" if back else ""
    return View(
        f"{who} is trusted {where}{again}: what it signed is used where the task is asked for",
        data=[{"did": who, "module": module, "released": back}],
    )


def _allow(who: str, module: CID | None, name: str, until: str) -> View:
    from ipvm_kernel.node import grants
    from ipvm_kernel.session import shares

    match = re.fullmatch(r"\s*(\d{1,9})\s*([a-z]+)\s*", str(until).lower())
    span = int(match[1]) * _SPANS.get(match[2], 0) if match else 0
    if not 0 < span <= _LONGEST:
        raise BadInput(f"expected a time such as '30 d' or '12 h', found {printable(str(until), limit=40)!r}")
    key = shares.identity(default(), create=True)
    if key is None:
        raise NotFound("this session has no key to sign with: set IPVM_HOME to a folder that can be written")
    made = grants.grant(key, who, module=module, ends=time.time() + span)
    grants.keep(default().store, made, printable(name, limit=100))
    ends = made.links[-1].ends
    where = f"of the module {module}" if module is not None else "of any module"
    text = (
        f"{who} may run tasks {where} on your node until {_when(ends or 0)}. Send them this, or a file with it:\n\n"
        f"{made.text}\n\n"
        f"they type: ipvm run WORKFLOW --node ws://HOST:PORT --grant FILE\n"
        f"to take it back: ipvm trust revoke {made.cid}"
    )
    return View(text, data=[{"did": who, "grant": made.text, "cid": made.cid, "module": module, "ends": ends}])


def _allowed() -> list[tuple[str, Any]]:
    """Return what was allowed here and holds still, each with its name."""
    from ipvm_kernel.node import grants

    revoked, now = trust_policy().revoked, time.time()
    return [
        (name, link)
        for name, link in grants.kept(default().store)
        if link.cid not in revoked and (link.ends is None or link.ends > now)
    ]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInput(f"expected a number of keys, found {printable(text, limit=40)!r}") from None


def _optimistic(who: str, sample: str | None) -> View:
    from ipvm_kernel.session import shares

    if who not in {"on", "off"}:
        raise BadInput(f"expected on or off, found {printable(who, limit=40)!r}")
    policy = trust_policy()
    policy.set_optimistic(who == "on", None if sample is None else shares.share_from_text(sample))
    told = (
        f"receipts of pure tasks that anybody signed are used, and {policy.sample:.0%} of them are run again and compared"
        if policy.optimistic
        else "receipts are used if you trust who signed them"
    )
    return View(told, data=[{"optimistic": policy.optimistic, "sample": policy.sample}])


def _listed() -> View:
    policy = trust_policy()
    rows = [
        [did, known.name or "-", "all modules" if not known.modules else ", ".join(known.modules), _when(known.since)]
        for did, known in policy.keys.items()
    ]
    rows += [[peer, "a peer", "all modules", _when(known.since)] for peer, known in policy.peers.items()]
    lines = (
        [table(rows, ["who", "name", "for", "since"])]
        if rows
        else ["nobody is trusted: only what was made here is used"]
    )
    if policy.quorum > 1:
        lines.append(f"{plural(policy.quorum, 'key')} must say the same")
    if policy.optimistic:
        lines.append(f"optimistic: what anybody signed is used, and {policy.sample:.0%} of it is run again")
    lines += [f"put aside: {did}: {known.why}" for did, known in policy.quarantined.items()]
    may_run = [(name, link, _module_of(link)) for name, link in _allowed()]
    if may_run:
        told = [
            [
                link.audience,
                name if name != link.audience else "-",
                module or "any module",
                _when(link.ends or 0),
                str(link.cid),
            ]
            for name, link, module in may_run
        ]
        lines.append(table(told, ["may run here", "name", "for", "until", "revoked by its CID"]))
    if policy.revoked:
        lines.append(f"{plural(len(policy.revoked), 'statement')} revoked")
    data: list[Any] = [
        {"did": did, "name": known.name, "modules": list(known.modules)} for did, known in policy.keys.items()
    ]
    data += [{"peer_id": peer} for peer in policy.peers]
    data += [{"quarantined": did, "why": known.why} for did, known in policy.quarantined.items()]
    data += [
        {"may_run": link.audience, "name": name, "module": module, "ends": link.ends, "cid": link.cid}
        for name, link, module in may_run
    ]
    return View("\n".join(lines), data=data)


def _module_of(link: Any) -> str:
    from ipvm_kernel.node import grants

    return grants.module_of(link)


def _when(since: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
