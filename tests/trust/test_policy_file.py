from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import Malformed, StoreBusy, StoreReadOnly
from ipvm_kernel.trust import Key, Policy, smallfile
from tests.trust.samples import ALICE, BOB, MODULE, PEER, RECEIPT, judge, node, said

if TYPE_CHECKING:
    from pathlib import Path


def test_another_kernel_sees_a_change_at_once(tmp_path: Path) -> None:
    """
    What one kernel changes holds in another at its next question, also where two changes come in one tick of the clock.
    """
    one, two = Policy(tmp_path / "trust.json"), Policy(tmp_path / "trust.json")
    for _ in range(50):
        one.trust_key(ALICE.did)
        assert judge(two, said(ALICE)).kind == "admitted"
        two.quarantine(ALICE.did, "")
        assert judge(one, said(ALICE)).kind == "unverified"
        one.release(ALICE.did)
        two.distrust_key(ALICE.did)
        assert judge(one, said(ALICE)).kind == "unverified"


def test_no_change_is_lost(tmp_path: Path) -> None:
    """
    Kernels that change the policy at the same moment lose nothing of what the others did.
    """
    keys = [Key(n.to_bytes(32, "big")).did for n in range(1, 61)]
    code = (
        "import sys; from pathlib import Path; from ipvm_kernel.trust import Policy; sys.stdin.read(1)\n"
        "for did in sys.argv[2:]: Policy(Path(sys.argv[1])).trust_key(did)"
    )
    path = tmp_path / "trust.json"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path), *keys[n::4]], stdin=subprocess.PIPE) for n in range(3)
    ]
    policy = Policy(path)
    threads = [threading.Thread(target=policy.trust_key, args=(did,)) for did in keys[3::4]]
    for thread in threads:
        thread.start()
    for process in started:
        process.communicate(b"x")
    for thread in threads:
        thread.join()

    assert set(policy.keys) == set(keys)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["trust.json", "trust.json.lock"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_for_people(tmp_path: Path) -> None:
    """
    The file can be read, and mended by hand; one from before keys were listed is read too.
    """
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"peers": {PEER: {"since": 1.5}}}))
    policy = Policy(path)
    before = policy.trusts(PEER)
    policy.trust_key(ALICE.did, MODULE, "Alice\u202e")
    policy.revoke(RECEIPT)
    found = json.loads(path.read_text())
    found["keys"][ALICE.did]["modules"] = []
    found["quorum"] = 3
    path.write_text(json.dumps(found))

    assert before
    assert found["peers"] == {PEER: {"since": 1.5}}
    assert found["keys"][ALICE.did]["name"] == "Alice\\u202e"
    assert found["revoked"] == [str(RECEIPT)]
    assert policy.quorum == 3
    assert policy.keys[ALICE.did].modules == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"keys": []}',
        '{"keys": {"x": {}}}',
        '{"keys": {"x": {"since": 1, "modules": ["no CID"]}}}',
        '{"quorum": 0}',
        '{"quorum": "1"}',
        '{"optimistic": 1}',
        '{"sample": 0}',
        '{"sample": NaN}',
        '{"revoked": ["x"]}',
        '{"secret": "xyz"}',
        '{"unknown": 1}',
        "\ud800".encode("utf-16", "surrogatepass"),
    ],
)
def test_a_damaged_file_trusts_nobody(tmp_path: Path, text: str | bytes) -> None:
    """
    Where the file says something that cannot be meant, every question fails, and no change is made.
    """
    path = tmp_path / "trust.json"
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(data)
    policy = Policy(path)

    for ask in (lambda: judge(policy, said(ALICE)), lambda: policy.trusts(PEER), lambda: policy.trust_key(ALICE.did)):
        with pytest.raises(Malformed, match="mend or remove it"):
            ask()
    assert path.read_bytes() == data


def test_a_file_that_others_can_write(tmp_path: Path) -> None:
    """
    Rules that everybody can write are nobody's rules.
    """
    path = tmp_path / "trust.json"
    Policy(path).trust_key(ALICE.did)
    path.chmod(0o646)

    with pytest.raises(Malformed, match="chmod 600"):
        judge(Policy(path), said(ALICE))


def test_where_no_file_can_be_written(tmp_path: Path) -> None:
    """
    Where the rules cannot be kept, they are not changed, and it is said.
    """
    (tmp_path / "file").write_text("")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "trust.json.new").mkdir()

    for place in ("file", "home"):
        with pytest.raises((StoreReadOnly, Malformed), match="cannot be"):
            Policy(tmp_path / place / "trust.json").set_quorum(2)


def test_a_process_that_hangs_holds_up_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where another process holds the policy and does not let go, a change is refused after a while, and reading goes on.
    """
    monkeypatch.setattr("ipvm_kernel.trust.smallfile._PATIENCE", 0.05)
    path = tmp_path / "trust.json"
    one, two = Policy(path), Policy(path)
    one.trust_key(ALICE.did)

    with smallfile.changing(path):
        with pytest.raises(StoreBusy, match="try again"):
            two.trust_key(BOB.did)
        assert judge(two, said(ALICE)).kind == "admitted"
    assert two.trust_key(BOB.did)


def test_somebody_elses_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that another user put in the place of the user's own is refused.
    """
    path = tmp_path / "trust.json"
    Policy(path).trust_key(ALICE.did)
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 4711)

    with pytest.raises(Malformed, match="owns it"):
        judge(Policy(path), said(ALICE))


def test_a_policy_of_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that grew out of all measure is refused, and not read into memory.
    """
    monkeypatch.setattr("ipvm_kernel.trust.rules._FILE_BYTES", 1000)
    monkeypatch.setattr("ipvm_kernel.trust.rules.MOST", 2)
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"revoked": [str(node(n)) for n in range(3)]}))
    with pytest.raises(Malformed, match="at most 2 entries"):
        Policy(path).trusts(PEER)
    path.write_text(" " * 1001)

    with pytest.raises(Malformed, match="at most 1,000 bytes"):
        Policy(path).trusts(PEER)
