"""The command `ipvm`: the verbs, in a shell.

Answers go to standard output, everything else to standard error. The exit status is 0, 1 if something failed, 2 if what
was typed is no command, and 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ipvm import verbs

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words of a command line say, and return the exit status."""
    given = list(sys.argv[1:] if words is None else words)
    if given[:1] in (["--version"], ["-V"]):
        from ipvm import __version__

        print(__version__)
        return 0
    if given[:1] in (["--help"], ["-h"]):
        given = ["help"]
    if given[1:2] in (["--help"], ["-h"]):
        given = ["help", given[0]]
    status = _perform(given)
    return status if _kept() else status or 1


def _perform(words: list[str]) -> int:
    """Do what some words say, and return the exit status."""
    from ipvm_kernel import errors

    try:
        view, as_json = verbs.perform(words)
        return _print(view, as_json=as_json)
    except verbs.Usage as error:
        print(error, file=sys.stderr)
        return 2
    except errors.IpvmError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; receipts that are there are kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read us had enough; what is flushed at the end goes nowhere (docs.python.org, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _print(view: object, *, as_json: bool) -> int:
    from ipvm.views import Stream, View
    from ipvm_kernel import dagjson

    if isinstance(view, Stream):
        for value in view.data:
            print(dagjson.dumps(value), flush=True)
        return 1 if view.failed else 0
    shown = view if isinstance(view, View) else View(str(view))
    if as_json:
        for value in shown.data:
            print(dagjson.dumps(value))
    elif shown.text:
        print(shown.text)
    sys.stdout.flush()  # here, where a reader that is gone is no surprise
    return 1 if shown.failed else 0


def _kept() -> bool:
    """Say what there is to say once, and return False if something could not be made durable: it ends with us."""
    from ipvm_kernel.errors import StoreError

    defaults = sys.modules.get("ipvm_kernel.session.defaults")
    session = defaults.current() if defaults is not None else None
    if session is None:
        return True
    lost = ""
    try:
        session.store.sync()
    except StoreError as error:
        lost = error.message
    for notice in dict.fromkeys([*session.take_notices(), *([lost] if lost else [])]):
        print(notice, file=sys.stderr)
    return not lost


if __name__ == "__main__":
    sys.exit(main())
