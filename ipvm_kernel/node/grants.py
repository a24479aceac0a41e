"""Grants: the delegation by which the owner of a node lets somebody run workflows there, as text that can be sent.

It is UCAN 1.0's (https://github.com/ucan-wg/delegation): the command is `/ipvm/run`, the subject is the owner, and its policy
is held against `{"rsc", "op", "func"}` of each task. Who has one can let others in too, by a delegation of their own behind
it; the text holds all of them, the owner's first.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, NotAllowed, NotFound
from ipvm_kernel.ipld import Block
from ipvm_kernel.model import WASM_RUN
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.delegation import Delegation, delegate, read_delegation
from ipvm_kernel.trust.invocation import from_token, invoke, to_token

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store import Store
    from ipvm_kernel.trust.keys import Key

RUN: Final = "/ipvm/run"
"""The command of whoever wants a workflow to be run."""

TOKEN_CHARS: Final = 8000
"""Characters of a token, at most: a line of a WebSocket's request has 8,192 (`websockets`)."""

_KEPT: Final = "grant/"  # the beginning of a pin's name
_FILE_BYTES: Final = 65_536
_SHORTEST: Final = 200  # characters of a grant; whatever else stands in a letter has no word of so many


class Grant(msgspec.Struct, frozen=True):
    """What somebody was given to run workflows on a node.

    Attributes:
        blocks: The delegations, the owner's first.
        links: What they say.
    """

    blocks: tuple[Block, ...]
    links: tuple[Delegation, ...]

    @property
    def owner(self) -> str:
        """The DID of whom the node belongs to."""
        return self.links[0].issuer

    @property
    def audience(self) -> str:
        """The DID of who may run."""
        return self.links[-1].audience

    @property
    def cid(self) -> CID:
        """The CID of the last delegation."""
        return self.links[-1].cid

    @property
    def text(self) -> str:
        """It as one word, to be sent."""
        return to_token(self.blocks[0], self.blocks[1:])


def grant(key: Key, did: str, *, module: CID | None = None, ends: float | None = None) -> Grant:
    """Let somebody run tasks on the node of a key's owner.

    Args:
        key: The owner's.
        did: Who is let.
        module: Tasks of this module alone.
        ends: Until when, in seconds since 1970; None for ever.

    Raises:
        BadInput: This is no DID, or no moment.
    """
    policy: list[Any] = [["==", ".op", WASM_RUN]]
    if module is not None:
        policy.append(["==", ".rsc", f"ipfs://{module}"])
    block = delegate(key, did, RUN, policy, ends)
    return Grant((block,), (read_delegation(block),))


def read_grant(text: str) -> Grant:
    """Return the grant in a text: its only long word, so that a whole letter may be given.

    Raises:
        Malformed: It is none, or there are several.
        Forged: Something in it was not signed by its issuer.
    """
    words = [word for word in text.split() if len(word) >= _SHORTEST]
    if len(words) != 1:
        raise Malformed(
            f"Expected a grant, one long word as `ipvm trust allow` prints it, found {len(words) or 'no'} such words."
        )
    first, rest = from_token(words[0])
    blocks = (first, *rest.values())
    return Grant(blocks, tuple(read_delegation(block) for block in blocks))


def find_grant(given: str) -> Grant:
    """Return the grant that a person named: itself, or the file that it is in.

    Raises:
        NotFound: There is no such file.
        As `read_grant` does.
    """
    if len(given) >= _SHORTEST and "/" not in given:
        return read_grant(given)
    path = Path(given).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound(f"no grant at {printable(str(path), limit=300)}: {error.strerror}") from None
    if len(data) > _FILE_BYTES:
        raise BadInput(f"expected a grant, found a file of more than {_FILE_BYTES:,} bytes: {path}")
    return read_grant(data.decode("utf-8", "replace"))


def token_for(key: Key, given: Grant, workflow: CID) -> str:
    """Return what a guest shows to have one workflow run: an invocation, good for five minutes, with the grant.

    Args:
        key: The guest's.
        given: What lets them.
        workflow: What is to be run.

    Raises:
        NotAllowed: The grant is for somebody else.
        BadInput: It is too long to be shown.
    """
    if given.audience != key.did:
        raise NotAllowed(f"this grant is for {given.audience}, and you are {key.did}: ask {given.owner} for one")
    proofs = [link.cid for link in given.links]
    token = to_token(invoke(key, given.owner, RUN, {"workflow": workflow}, proofs), given.blocks)
    if len(token) > TOKEN_CHARS:
        raise BadInput(
            f"expected a grant that can be shown in {TOKEN_CHARS:,} characters, found one of {len(token):,}: it went "
            f"through {len(proofs)} hands. Ask {given.owner} for one of your own"
        )
    return token


# --- what the owner keeps of them ---


def keep(store: Store, given: Grant, name: str = "") -> None:
    """Keep what was granted under a pin, so that whoever granted it can name it later."""
    for block in given.blocks:
        store.put(block)
    store.pin(f"{_KEPT}{name or given.audience}@{given.cid.short}", given.cid)


def kept(store: Store) -> list[tuple[str, Delegation]]:
    """Return what was granted here, each with its name, in the order of their ends."""
    found: list[tuple[str, Delegation]] = []
    for pin, cid in store.pins().items():
        if pin.startswith(_KEPT):
            with contextlib.suppress(IpvmError):  # a pin of the user's own of that name
                found.append((pin.removeprefix(_KEPT).rpartition("@")[0], read_delegation(store.get(cid))))
    return sorted(found, key=lambda one: one[1].ends or math.inf)


def module_of(link: Delegation) -> str:
    """Return the module that a delegation is for alone, as its policy names it, or ""."""
    for statement in link.policy:
        if statement.op == "==" and type(statement.of) is str and statement.of.startswith("ipfs://"):
            return statement.of.removeprefix("ipfs://")
    return ""
