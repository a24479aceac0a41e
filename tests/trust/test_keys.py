from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import Forged, Malformed, NotAllowed, NotFound, StoreReadOnly
from ipvm_kernel.ipld.bases import to_base58
from ipvm_kernel.trust.keys import Key, did_of, public_key, verify
from tests.trust.samples import ALICE, BOB

VECTORS = Path(__file__).parent.parent / "vectors" / "trust" / "ed25519.json"

# From the did:key method's own vectors for Ed25519.
DID = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw"
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def spelled(data: bytes) -> str:
    return "did:key:z" + to_base58(data)


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(did_of(public), message, signature)
    except (Forged, Malformed):
        return False
    return True


def test_a_did_is_a_public_key() -> None:
    """
    A DID and the 32 bytes of its key lead to each other, and to nothing else.
    """
    public = bytes.fromhex(PUBLIC)

    assert did_of(public) == DID
    assert public_key(DID) == public


@given(seed=st.binary(min_size=32, max_size=32))
def test_every_key_has_a_did(seed: bytes) -> None:
    """
    What a key signs is verified with its DID alone, and by nobody else's.
    """
    key = Key(seed)
    signature = key.sign(seed)
    verify(key.did, seed, signature)

    assert did_of(public_key(key.did)) == key.did
    with pytest.raises(Forged, match="did not sign"):
        verify(BOB.did, seed, signature)


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:key:",
        "did:web:example.com",
        DID[:-1],
        DID + "1",
        DID + "#" + DID[8:],
        DID.upper(),
        " " + DID[1:],
        DID.replace("z6M", "Z6M"),
        DID[:-1] + "0",
        DID[:-1] + "é",
        "did:key:z1" + DID[9:-1],
        spelled(b"\xec\x01" + bytes.fromhex(PUBLIC)),
        spelled(b"\xed\x02" + bytes.fromhex(PUBLIC)),
        spelled(b"\xed\x01" + bytes.fromhex(PUBLIC)[1:] + b"\0"),
        spelled(b"\xed\x01" + (2).to_bytes(32, "little")),
        7,
        None,
        "did:key:z" + "6" * 100_000,
    ],
)
def test_what_is_no_did(did: Any) -> None:
    """
    A DID has one spelling; another method, another kind of key and a slip of the pen are refused.
    """
    with pytest.raises(Malformed, match=r"Expected (a|the) DID") as raised:
        public_key(did)

    assert len(raised.value.message) < 300


def test_signatures_case_by_case() -> None:
    """
    The signatures of RFC 8032 hold; nothing that was made from them does, nor any under a key that everybody has.
    """
    cases = json.loads(VECTORS.read_text())
    wrong = [
        case["name"]
        for case in cases
        if holds(*(bytes.fromhex(case[part]) for part in ("public", "message", "signature"))) != case["valid"]
    ]

    assert wrong == []
    assert sum(case["valid"] for case in cases) == 4
    assert len(cases) > 130


@pytest.mark.skipif("IPVM_WYCHEPROOF" not in os.environ, reason="IPVM_WYCHEPROOF names Wycheproof's ed25519_test.json")
def test_wycheproof() -> None:
    """
    Every signature of Project Wycheproof is judged as it says.
    """
    groups = json.loads(Path(os.environ["IPVM_WYCHEPROOF"]).read_text())["testGroups"]
    cases = [(group["publicKey"]["pk"], case) for group in groups for case in group["tests"]]
    wrong = [
        (case["tcId"], case["comment"])
        for public, case in cases
        if holds(*map(bytes.fromhex, (public, case["msg"], case["sig"]))) != (case["result"] == "valid")
    ]

    assert wrong == []
    assert len(cases) >= 150


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """
    A folder has no key until one is needed; from then on it is the same.
    """
    folder = tmp_path / "new" / "home"
    before = Key.load(folder, create=False)
    made = Key.load(folder, create=True)
    again = Key.load(folder, create=True)
    found = Key.load(folder, create=False)

    assert before is None
    assert made is not None
    assert again is not None
    assert found is not None
    assert made.did == again.did == found.did != ALICE.did
    assert made.sign(b"x") == found.sign(b"x")


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_a_key_is_for_its_users_eyes(tmp_path: Path, umask: int) -> None:
    """
    The file of a key is readable by its user and nobody else, whatever the umask says.
    """
    old = os.umask(umask)
    try:
        Key.load(tmp_path, create=True)
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "identity.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["identity.key", "identity.key.lock"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601, 0o666])
def test_a_key_that_others_can_have_is_refused(tmp_path: Path, mode: int) -> None:
    """
    A key whose file is open to others is not used, and the message says what to do.
    """
    Key.load(tmp_path, create=True)
    (tmp_path / "identity.key").chmod(mode)

    with pytest.raises(NotAllowed, match=f"found mode {mode:o}. Say chmod 600"):
        Key.load(tmp_path, create=True)


def test_a_key_is_no_link(tmp_path: Path) -> None:
    """
    A link in the key's place is refused, wherever it leads: somebody else may have put it there.
    """
    (tmp_path / "there").mkdir()
    Key.load(tmp_path / "there", create=True)
    (tmp_path / "identity.key").symlink_to(tmp_path / "there" / "identity.key")
    with pytest.raises(NotAllowed, match="found a link"):
        Key.load(tmp_path, create=True)
    (tmp_path / "identity.key").unlink()
    (tmp_path / "identity.key").symlink_to(tmp_path / "nowhere")

    with pytest.raises(NotAllowed, match="found a link"):
        Key.load(tmp_path, create=True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_key_is_a_file(tmp_path: Path, kind: str) -> None:
    """
    What is no file is refused, and a pipe in its place holds up nobody.
    """
    path = tmp_path / "identity.key"
    path.mkdir(0o600) if kind == "folder" else os.mkfifo(path, 0o600)

    with pytest.raises(NotAllowed, match="found something else"):
        Key.load(tmp_path, create=True)


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_a_cut_key_is_refused(tmp_path: Path, size: int) -> None:
    """
    A key that was cut short is not replaced by a new one, since its user may have a copy.
    """
    path = tmp_path / "identity.key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)

    with pytest.raises(ValueError, match=r"bytes in .*identity.key"):
        Key.load(tmp_path, create=True)
    assert path.read_bytes() == bytes(size)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """
    Where no key can be kept, none is made.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreReadOnly, match="cannot be"):
        Key.load(tmp_path / "file", create=True)


def test_a_half_written_key_is_no_key(tmp_path: Path) -> None:
    """
    A process that ended while it made a key leaves nothing in the way of the next.
    """
    (tmp_path / "identity.key.new").write_bytes(b"half")

    made = Key.load(tmp_path, create=True)

    assert made is not None
    assert not (tmp_path / "identity.key.new").exists()


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    """
    Kernels that need a key at the same moment end with the same one.
    """
    code = (
        "import sys; from pathlib import Path; from ipvm_kernel.trust import Key; sys.stdin.read(1); "
        "print(Key.load(Path(sys.argv[1]), create=True).did)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    found = [process.communicate(b"x")[0] for process in started]

    assert len(set(found)) == 1
    assert found[0].startswith(b"did:key:z6Mk")


def test_a_secret_stays_where_it_is(tmp_path: Path) -> None:
    """
    No text of a key shows its secret, and no pickle or copy takes it to another place.
    """
    key = Key(b"my secret, which nobody may see.")

    assert repr(key) == f"Key({key.did})"
    assert not any(b"secret" in str(part).encode() for part in (key, vars(type(key))["__slots__"].index("_seed")))
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays in its process"):
            leave(key)


def test_a_seed_is_32_bytes() -> None:
    """
    A secret of another length is refused, and is not in the message.
    """
    with pytest.raises(Malformed, match="32 bytes") as raised:
        Key(b"my secret")

    assert "secret, " not in raised.value.message
    assert "my secret" not in raised.value.message


class Ring:
    """A keyring, as the package of that name has one."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self.kept[service, name] = secret


def test_the_systems_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the user asks for it, the secret is in the system's keyring and in no file, one for each folder.
    """
    ring = Ring()
    monkeypatch.setenv("IPVM_KEYRING", "1")
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(**{name: getattr(ring, name) for name in dir(ring)}))
    made, again = Key.load(tmp_path, create=True), Key.load(tmp_path, create=False)
    other = Key.load(tmp_path / "other", create=True)

    assert made is not None
    assert again is not None
    assert other is not None
    assert made.did == again.did != other.did
    assert not (tmp_path / "identity.key").exists()
    assert len(ring.kept) == 2
    ring.kept = dict.fromkeys(ring.kept, "not hexadecimal")
    with pytest.raises(Malformed, match="Expected a key of 32 bytes"):
        Key.load(tmp_path, create=True)


def test_a_file_that_is_there_stays_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who turns the keyring on later keeps the identity that others know.
    """
    made = Key.load(tmp_path, create=True)
    monkeypatch.setenv("IPVM_KEYRING", "1")
    monkeypatch.setitem(sys.modules, "keyring", None)
    again = Key.load(tmp_path, create=True)

    assert made is not None
    assert again is not None
    assert made.did == again.did


def test_a_keyring_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who asks for the keyring and has none is told so, and finds no secret in a file.
    """
    monkeypatch.setenv("IPVM_KEYRING", "1")
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(NotFound, match="pip install keyring"):
        Key.load(tmp_path, create=True)
    assert not (tmp_path / "identity.key").exists()


def test_no_cryptography_until_a_signature(tmp_path: Path) -> None:
    """
    To look whether there is a key, and to list keys, costs no import of cryptography.
    """
    code = (
        "import sys; from pathlib import Path; from ipvm_kernel.trust import Key, Policy; where = Path(sys.argv[1]); "
        f"Key.load(where, create=True); Policy(where / 'trust.json').trust_key('{DID}'); "
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "[]"
