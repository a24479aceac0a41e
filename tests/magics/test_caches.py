"""What is typed about caches says what is wrong with how they are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import Session
from ipvm_kernel.session import set_default
from tests.magics.test_verbs import shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    The home of the default session.
    """
    folder = tmp_path / "home"
    monkeypatch.setenv("IPVM_HOME", str(folder))
    with Session(folder) as session:
        set_default(session)
        yield folder
        set_default(None)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("IPVM_CACHES", "http://user:pw@lab/", "an address without a password"),
        ("IPVM_CACHE_SECONDS", "abc", "IPVM_CACHE_SECONDS is 'abc'"),
        ("", "{oops", "caches.json cannot be read"),
    ],
)
def test_what_is_wrong_with_the_settings_is_listed(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """
    `ipvm cache list` and `ipvm doctor` say why no cache is asked, and end in error.
    """
    monkeypatch.setenv("IPVM_CACHES", str(home / "lab"))
    if name:
        monkeypatch.setenv(name, value)
    else:
        (home / "caches.json").write_text(value)
    for words in (("cache", "list"), ("doctor",)):
        status, out, err = shell(*words)
        assert status != 0
        assert said in out + err
        assert "pw" not in out + err
