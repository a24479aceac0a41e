from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.magics.conftest import Notebook


def completions(notebook: Notebook, code: str) -> list[str]:
    """Return what the shell offers at the end of some code."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [found.text for found in notebook.shell.Completer.completions(code, len(code))]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%ipvm wh", "why"),
        ("%ipvm why mi", "mine"),
        ("%ipvm gc --", "--dry-run"),
        ("%%ipvm --", "--keep-going"),
        ("%%wasm x --", "--lang"),
        ("%%wasm x --lang z", "zig"),
        ("demo.ad", "add"),
        ("demo.add(p", "p0="),
    ],
)
def test_what_can_be_typed_is_offered(notebook: Notebook, code: str, expected: str) -> None:
    """
    Verbs, names, options, functions and parameters complete.
    """
    notebook.run("mine = demo.add(1, 2)")

    assert any(found.endswith(expected) or found == expected for found in completions(notebook, code))


def test_nothing_of_pythons_is_offered_in_our_magics(notebook: Notebook) -> None:
    """
    After `%ipvm`, only what can stand there is offered.
    """
    assert "print" not in completions(notebook, "%ipvm p")


def test_cids_complete_in_the_ipvm_kernel(notebook: Notebook) -> None:
    """
    The beginning of a CID completes in plain Python, if the kernel says so.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    cid = str(notebook.shell.user_ns["x"].cid)
    before = completions(notebook, f"'{cid[:14]}")
    setattr(notebook.shell, "ipvm_completes_cids", True)  # noqa: B010 - as the kernel does
    after = completions(notebook, f"'{cid[:14]}")

    assert cid not in before
    assert cid in after
