"""Signing: the user's key vouches for the receipts that were made here, when they are shared and not before."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.trust.attestation import attest
from ipvm_kernel.trust.keys import Key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.session.session import Session
    from ipvm_kernel.sharing.gathering import Gathered

FEATURES: Final = ("nan-canonical", "no-relaxed-simd", "no-threads")
"""What of the engine could matter to an answer: how `wasm/machine` sets it up."""


def identity(session: Session, *, create: bool = False) -> Key | None:
    """Return the user's key, which lies beside the store, or None where there is none and none is made.

    Raises:
        IpvmError: It cannot be read or made; the message says why.
    """
    folder = getattr(session.store, "folder", None)
    return Key.load(folder, create=create) if isinstance(folder, Path) else None


def sign(session: Session, receipts: Iterable[Gathered], *, own: bool = True) -> list[CID]:
    """Return statements about some receipts: those that came along with them, and the user's own for those made here.

    What was signed before is not signed again, so that sharing twice gives one CID.

    Args:
        session: Where the receipts are.
        receipts: The receipts.
        own: Sign for those that were made here; those of a layer are for who made it to sign.

    Raises:
        IpvmError: The key cannot be read or made.
    """
    gathered = list(receipts)
    key = identity(session, create=True) if own and any(one.made_here for one in gathered) else None
    known = session.admission.statements.about([one.receipt for one in gathered])
    statements: list[CID] = []
    for one in gathered:
        signed = known.get(one.receipt, [])
        statements += [made.cid for made in signed]
        if key is None or not one.made_here or any(made.issuer == key.did for made in signed):
            continue
        block = attest(
            key,
            receipt=one.receipt,
            instruction=one.instruction,
            engine=engine_of(one.engine),
            features=FEATURES,
        )
        session.store.attest(one.receipt, block)
        statements.append(block.cid)
    return statements


def engine_of(text: str) -> str:
    """Return what a statement says of the engine: this program's version, and what the journal says."""
    return f"ipvm {_version()} {text}".strip()[:128]


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("ipvm")
    except importlib.metadata.PackageNotFoundError:
        return "?"


def name_of(session: Session, did: str) -> str:
    """Return how a signer is shown: "you", the name that the user gave, or the DID alone."""
    try:
        key = identity(session)
    except IpvmError:
        key = None
    if key is not None and key.did == did:
        return f"you ({did})"
    trusted = session.policy.keys.get(did)
    return f"{trusted.name} ({did})" if trusted is not None and trusted.name else did
