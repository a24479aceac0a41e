"""The policy: whose word the user takes for what. Everything else is shown, and never used (RULES 11).

In order: what was made here needs nobody's word; peers and keys that the user listed, of keys perhaps several; and, if
the user says so, the word of anybody for pure tasks, while some of what they say is run again. It is one small file
beside the store, and is asked at each use: what is revoked, expired or in quarantine stops counting at once.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BadInput, Malformed
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.judging import Verdict, failing, judged
from ipvm_kernel.trust.keys import public_key
from ipvm_kernel.trust.rules import Listed, Quarantined, RulesFile, Stamp, Trusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.trust.attestation import Attestation

_PEER_LETTERS: Final = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
_NAME_CHARS: Final = 100
_WHY_CHARS: Final = 500
_SECRET_BYTES: Final = 32


class Policy:
    """Who is trusted.

    Args:
        path: The file; None for a policy that ends with the session.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = RulesFile(path)

    @property
    def stamp(self) -> Stamp:
        """What differs whenever the policy does. What was judged under an equal one need not be judged again, but for time."""
        return self._file.stamp

    # --- Peers ---

    @property
    def peers(self) -> Mapping[str, Trusted]:
        """The peers that are trusted, by id.

        Raises:
            Malformed: The file is not what was written: nobody is trusted until it is mended.
        """
        return self._file.known().rules.peers

    def trusts(self, peer: str) -> bool:
        """Return True if the receipts that a peer signed or gave may be used."""
        return peer in self.peers

    def trust(self, peer: str) -> bool:
        """Trust a peer, and return True if it was not trusted before.

        Raises:
            BadInput: This is no peer's id, or there are too many.
            StoreReadOnly: The file cannot be written.
        """
        if not 40 <= len(peer) <= 64 or not _PEER_LETTERS.issuperset(peer):  # base58btc, as libp2p writes a peer's id
            raise BadInput(
                f"expected the id of a peer, such as 12D3KooW…, found {printable(peer, limit=80)!r}. %ipvm peer lists those "
                "that are connected"
            )
        with self._file.changing() as change:
            if peer in change.rules.peers:
                return False
            change.put(peers={**change.rules.peers, peer: Trusted(time.time())})
        return True

    def distrust(self, peer: str) -> bool:
        """Trust a peer no longer, and return True if it was trusted. What it gave before stays as it is."""
        with self._file.changing() as change:
            return change.drop("peers", peer)

    # --- Keys ---

    @property
    def keys(self) -> Mapping[str, Listed]:
        """The keys whose word the user takes, by DID."""
        return self._file.known().rules.keys

    def trust_key(self, did: str, module: CID | None = None, name: str = "") -> bool:
        """Take the word of a key, and return True if it was not taken for this before.

        Args:
            did: The key.
            module: Only for receipts of this module, beside those for which its word is taken already; None for all.
            name: What the user calls its holder; "" leaves what is there.

        Raises:
            BadInput: This is no key's DID, or there are too many.
            StoreReadOnly: The file cannot be written.
        """
        public_key(did)
        name = printable(name, limit=_NAME_CHARS)
        with self._file.changing() as change:
            keys = change.rules.keys
            old = keys.get(did)
            wanted = () if module is None else (str(module),)
            if old is None:
                new = Listed(time.time(), wanted, name)
            else:
                merged = tuple(dict.fromkeys(old.modules + wanted)) if wanted and old.modules else ()
                new = Listed(old.since, merged, name or old.name)
            change.put(keys={**keys, did: new})
        return old is None or old.modules != new.modules

    def distrust_key(self, did: str) -> bool:
        """Take the word of a key no longer, not even for what it signed before, and return True if it was taken."""
        with self._file.changing() as change:
            return change.drop("keys", did)

    @property
    def quorum(self) -> int:
        """How many listed keys must say the same of a receipt before it is used."""
        return self._file.known().rules.quorum

    def set_quorum(self, k: int) -> None:
        """Set how many listed keys must say the same of a receipt.

        Raises:
            BadInput: Not a number from 1 to 1,000.
        """
        if type(k) is not int or not 1 <= k <= 1000:
            raise BadInput(f"Expected a quorum of 1 to 1,000 keys, found {k!r}.")
        with self._file.changing() as change:
            change.put(quorum=k)

    # --- Anybody ---

    @property
    def optimistic(self) -> bool:
        """Whether receipts of pure tasks are used on anybody's signed word, while some are run again."""
        return self._file.known().rules.optimistic

    @property
    def sample(self) -> float:
        """The share of such receipts that is run again."""
        return self._file.known().rules.sample

    @property
    def secret(self) -> bytes:
        """What decides which receipts are run again, so that whoever sends them cannot know. Made when it is first needed."""
        found = self._file.known().secret
        if not found:
            with self._file.changing() as change:
                found = bytes.fromhex(change.rules.secret or secrets.token_hex(_SECRET_BYTES))
                change.put(secret=found.hex())
        return found

    def set_optimistic(self, on: bool, sample: float | None = None) -> None:
        """Use receipts of pure tasks on anybody's signed word, and run some of them again; or stop that.

        Args:
            on: Whether.
            sample: The share that is run again, above 0 and at most 1; None leaves what is there (0.05 at first).

        Raises:
            BadInput: Another share.
        """
        if sample is not None and not 0 < sample <= 1:
            raise BadInput(f"Expected a share above 0 and at most 1 to run again, found {sample!r}.")
        with self._file.changing() as change:
            change.put(
                optimistic=bool(on),
                sample=change.rules.sample if sample is None else float(sample),
                secret=change.rules.secret or secrets.token_hex(_SECRET_BYTES),
            )

    # --- What counts no longer ---

    @property
    def quarantined(self) -> Mapping[str, Quarantined]:
        """The keys whose word is not taken, by DID, and why."""
        return self._file.known().rules.quarantine

    def quarantine(self, did: str, why: str) -> bool:
        """Take no word of a key, listed or not, until it is released, and return True if it was taken until now.

        Raises:
            BadInput: This is no key's DID, or there are too many.
        """
        return bool(self.quarantine_all([did], why))

    def quarantine_all(self, dids: Iterable[str], why: str) -> list[str]:
        """Take no word of some keys, as `quarantine` does, and return those whose word was taken until now.

        Raises:
            As `quarantine` does.
        """
        wanted = list(dict.fromkeys(dids))
        for did in wanted:
            public_key(did)
        entry = Quarantined(time.time(), printable(why, limit=_WHY_CHARS))
        with self._file.changing() as change:
            new = [did for did in wanted if did not in change.rules.quarantine]
            if new:
                change.put(quarantine={**change.rules.quarantine, **dict.fromkeys(new, entry)})
        return new

    def release(self, did: str) -> bool:
        """Let a key out of quarantine, and return True if it was in it."""
        with self._file.changing() as change:
            return change.drop("quarantine", did)

    @property
    def revoked(self) -> frozenset[CID]:
        """The attestations and delegations that hold no longer."""
        return self._file.known().revoked

    def revoke(self, cid: CID) -> bool:
        """Let an attestation or a delegation hold no longer, and return True if it held until now. There is no way back."""
        with self._file.changing() as change:
            if str(cid) in change.rules.revoked:
                return False
            change.put(revoked=(*change.rules.revoked, str(cid)))
        return True

    # --- Judging ---

    def failing(self, said: Attestation, *, receipt: CID, instruction: CID | None, now: float) -> str:
        """Return why a statement does not hold now: "expired", "revoked", "in quarantine" and the like; or "" if it does.

        Raises:
            Malformed: The policy cannot be read.
        """
        return failing(self._file.known(), said, receipt=receipt, instruction=instruction, now=now)

    def judge(
        self,
        receipt: CID,
        statements: Sequence[Attestation],
        *,
        module: CID | None,
        pure: bool,
        now: float,
        secret: bytes = b"",
        instruction: CID | None = None,
    ) -> Verdict:
        """Return whether a receipt that was not made here may be used, on the word of who signed it.

        Args:
            receipt: The receipt.
            statements: What came with it, as `attestation.read` returned it; about other receipts too.
            module: The module that ran; None if that is not known, so that only keys listed for all modules count.
            pure: Whether the same task gives the same answer anywhere, so that it can be run again and compared.
            now: The time, in seconds since 1970.
            secret: Decides which receipts are run again; at least 16 bytes, or b"" for the policy's own.
            instruction: What the receipt is on file as the answer of, if known: a statement about another does not count.

        Raises:
            Malformed: The policy cannot be read.
        """
        if 0 < len(secret) < 16:
            raise Malformed(f"Expected a secret of at least 16 bytes, found {len(secret)}.")
        known = self._file.known()
        if known.rules.optimistic and not secret:
            secret = known.secret or self.secret
        return judged(
            known,
            receipt,
            statements,
            module=module,
            pure=pure,
            secret=secret,
            now=now,
            instruction=instruction,
        )
