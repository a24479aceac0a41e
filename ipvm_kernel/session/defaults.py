"""The default session, which stands behind `ipvm.*` and the magics: one a process, opened at its first use."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from ipvm_kernel import handles
from ipvm_kernel.callables import bytes_of
from ipvm_kernel.errors import BadInput, StoreReadOnly
from ipvm_kernel.session.session import Session
from ipvm_kernel.wasm.limits import Limits

_default: Session | None = None
_default_lock = threading.Lock()


def home_folder() -> Path:
    """Return where the default session keeps its store: `$IPVM_HOME`, else the platform's user data directory."""
    chosen = os.environ.get("IPVM_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("ipvm", appauthor=False))


def caps_from_environment() -> Limits:
    """Return the limits that a hub or a kernelspec sets: `$IPVM_MAX_FUEL`, `$IPVM_MAX_MEMORY`, `$IPVM_MAX_TIME` (seconds).

    Raises:
        BadInput: One of them is no number.
    """
    fuel, memory, time = (os.environ.get(f"IPVM_MAX_{name}") for name in ("FUEL", "MEMORY", "TIME"))
    try:
        return Limits(
            fuel=int(float(fuel)) if fuel else None,
            memory=bytes_of(memory) if memory else None,
            time=float(time) if time else None,
        )
    except ValueError as error:
        raise BadInput(f"one of $IPVM_MAX_FUEL, $IPVM_MAX_MEMORY, $IPVM_MAX_TIME is no number: {error}") from None


def default() -> Session:
    """Return the default session, opened at its first use.

    A folder that cannot be written gives a session in memory, and says so once.
    """
    global _default
    with _default_lock:
        if _default is None:
            folder = home_folder()
            try:
                _default = _opened(folder)
            except StoreReadOnly as error:
                _default = _opened(None)
                _default.notices.append(f"{error}. This session keeps its receipts in memory")
            atexit.register(_default.close)
        return _default


def _opened(folder: Path | None) -> Session:
    """Return a session on a folder, or in memory, over the layers that `$IPVM_LAYERS` names."""
    limits, layers = caps_from_environment(), os.environ.get("IPVM_LAYERS")
    if not layers:
        return Session(folder, limits=limits)
    from ipvm_kernel.session import opening
    from ipvm_kernel.store import layered

    own = opening.opened(folder)
    try:
        return Session(layered.opened(own, layers), limits=limits, code=opening.code_folder(folder))
    except BaseException:
        own.close()
        raise


def current() -> Session | None:
    """Return the default session if it was opened, or None. Opens nothing."""
    return _default


def set_default(session: Session | None) -> None:
    """Make another session the default one; None opens a new one at the next use."""
    global _default
    with _default_lock:
        _default = session


handles.restore_with(lambda cid: default().handle(cid))
