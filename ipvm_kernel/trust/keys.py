"""Keys: who signs here, and the `did:key` that names whoever signs.

A DID of this method is its public key (https://w3c-ccg.github.io/did-method-key/): "did:key:z" and the base58 of two
bytes for Ed25519 and 32 of key. So a signature can be checked by whoever has the DID, and nobody has to be asked.
Signatures are Ed25519's (RFC 8032), checked as its section 5.1.7 says, and stricter where two readers could disagree.
"""

from __future__ import annotations

import functools
import importlib
import os
import secrets
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, final

from ipvm_kernel.errors import BadCID, Forged, Malformed, NotFound
from ipvm_kernel.ipld.bases import from_base58, to_base58
from ipvm_kernel.printable import printable
from ipvm_kernel.trust import smallfile

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES: Final = 64
_SEED_BYTES: Final = 32
_METHOD: Final = "did:key:z"
_CODEC: Final = b"\xed\x01"  # ed25519-pub in the multicodec table, as a varint
_DID_CHARS: Final = 56
_RING: Final = "ipvm"  # the service that the keyring knows us as

# The field and the group of RFC 8032 section 5.1.
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
# The points whose multiple by 8 is zero have these y. A key among them verifies one signature for every message.
_Y8: Final = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


def did_of(public: bytes) -> str:
    """Return the DID of an Ed25519 public key of 32 bytes."""
    return _METHOD + to_base58(_CODEC + public)


def public_key(did: str) -> bytes:
    """Return the 32 bytes of the public key that a DID is.

    >>> public_key("did:key:z6MkmT9j6fVZqzXV8u2wVVSu49gYSRYGSQnduWXF6foAJrqz").hex()[:16]
    '67faa9eb61713d1c'

    Raises:
        Malformed: It is not "did:key:z6Mk..." in its one spelling, or no key that says who signed.
    """
    if type(did) is not str or len(did) != _DID_CHARS or not did.startswith(_METHOD):
        shown = printable(did, limit=80) if type(did) is str else type(did).__name__
        raise Malformed(f"Expected a DID such as did:key:z6Mk… of {_DID_CHARS} characters, found {shown!r}.")
    return _public_bytes(did)


@functools.lru_cache(maxsize=4096)
def _public_bytes(did: str) -> bytes:
    try:
        data = from_base58(did[len(_METHOD) :], did)
    except BadCID:
        raise Malformed(
            f"Expected a DID in base58, found {printable(did)!r}, where a character is none of it."
        ) from None
    public = data[len(_CODEC) :]
    if data[: len(_CODEC)] != _CODEC or len(public) != 32:
        raise Malformed(
            f"Expected the DID of an Ed25519 key (did:key:z6Mk…), found {printable(did)!r} of another kind."
        )
    number = int.from_bytes(public, "little")
    y = number & (1 << 255) - 1
    if y >= _P or not _on_curve(y):
        raise Malformed(f"Expected the DID of a key, found {printable(did)!r}, which is none. Is a character wrong?")
    if y in _SMALL:
        raise Malformed(f"Expected a DID that tells who signed, found {printable(did)!r}, for which anybody can sign.")
    return public


def _on_curve(y: int) -> bool:
    """Return whether x exists with -x² + y² = 1 + d x² y² (RFC 8032 section 5.1.3)."""
    square = y * y % _P
    ratio = (square - 1) * (_D * square + 1)
    return not ratio % _P or pow(ratio, (_P - 1) // 2, _P) == 1


@functools.lru_cache(maxsize=4096)
def _verifier(did: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(public_key(did))


def verify(did: str, data: bytes, signature: bytes) -> None:
    """Raise unless a signature is the one that the holder of this key made for these bytes.

    Raises:
        Malformed: The DID is none.
        Forged: The signature is of something or somebody else, or not in its one form (S below the group's order,
            R a number below the field's: so nobody can make a second signature, and CID, of a statement).
    """
    from cryptography.exceptions import InvalidSignature

    verifier = _verifier(did)
    if len(signature) != SIGNATURE_BYTES:
        raise Forged(f"Expected a signature of {SIGNATURE_BYTES} bytes by {did}, found {len(signature)}.")
    if int.from_bytes(signature[32:], "little") >= _L:
        raise Forged(f"Expected a signature by {did} in its one form, found its S above the order of the group.")
    if int.from_bytes(signature[:32], "little") & (1 << 255) - 1 >= _P:
        raise Forged(f"Expected a signature by {did} in its one form, found its R above the field.")
    try:
        verifier.verify(signature, data)
    except InvalidSignature:
        raise Forged(f"Expected what {did} signed, found something that it did not sign.") from None


@final
class Key:
    """A key that signs. Its secret is in no `repr`, and does not leave with a pickle or a copy.

    Args:
        seed: The secret, 32 bytes (RFC 8032 section 5.1.5). `Key.fresh()` and `Key.load` are the usual ways.
    """

    __slots__ = ("_did", "_private", "_seed")

    def __init__(self, seed: bytes) -> None:
        if type(seed) is not bytes or len(seed) != _SEED_BYTES:
            raise Malformed(f"Expected a secret of {_SEED_BYTES} bytes, found another length.")
        self._seed = seed
        self._private: Ed25519PrivateKey | None = None
        self._did = ""

    @classmethod
    def fresh(cls) -> Self:
        """Return a key that nobody had before. It is kept nowhere."""
        return cls(secrets.token_bytes(_SEED_BYTES))

    @classmethod
    def load(cls, folder: Path, *, create: bool) -> Self | None:
        """Return the key of a folder: what `identity.key` there holds, or the system's keyring if $IPVM_KEYRING is set.

        Args:
            folder: Where the key is; made if it is not there and a key is.
            create: Make a key if there is none, durably, so that of two processes both get the same.

        Returns:
            The key; None if there is none and none was to be made.

        Raises:
            NotAllowed: Others than the user can read the file, or it is a link.
            Malformed: It does not hold a key.
            StoreReadOnly: It cannot be read or written.
            NotFound: $IPVM_KEYRING is set, and the package `keyring` is not installed.
        """
        path = folder / "identity.key"
        found = cls._kept(path)
        if found is not None or not create:
            return found
        with smallfile.changing(path):
            found = cls._kept(path)  # by another process, a moment ago
            if found is None:
                seed = secrets.token_bytes(_SEED_BYTES)
                ring = _keyring()
                if ring is None:
                    smallfile.write(path, seed)
                else:
                    ring.set_password(_RING, str(path.absolute()), seed.hex())
                found = cls(seed)
        return found

    @classmethod
    def _kept(cls, path: Path) -> Self | None:
        """Return the key of the file, or of the keyring. A file that is there stays the identity that it was."""
        seed = smallfile.read(path, most=_SEED_BYTES, secret=True)
        if seed is None and (ring := _keyring()) is not None:
            text = ring.get_password(_RING, str(path.absolute()))
            try:
                seed = None if text is None else bytes.fromhex(text)
            except ValueError:
                seed = b""
        if seed is None:
            return None
        if len(seed) != _SEED_BYTES:
            raise Malformed(
                f"Expected a key of {_SEED_BYTES} bytes in {path}, found {len(seed)}. Put back a copy, or remove it."
            )
        return cls(seed)

    @property
    def did(self) -> str:
        """The DID that others know it by."""
        if not self._did:
            self._did = did_of(self._signer().public_key().public_bytes_raw())
        return self._did

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes, 64 bytes. The same bytes give the same signature."""
        return self._signer().sign(data)

    def _signer(self) -> Ed25519PrivateKey:
        if self._private is None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            self._private = Ed25519PrivateKey.from_private_bytes(self._seed)
        return self._private

    def __repr__(self) -> str:
        return f"Key({self.did})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key stays in its process: send its DID, or what it signed")


def _keyring() -> Any:
    """Return the package `keyring` if the user asked for it, else None."""
    if not os.environ.get("IPVM_KEYRING"):
        return None
    try:
        return importlib.import_module("keyring")
    except ImportError:
        raise NotFound("$IPVM_KEYRING is set, but the package keyring is not installed: pip install keyring") from None
