"""Modules by CID: what they offer at once, their code when something runs.

A session that only replays never asks for code, and so never imports the engine.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ipvm_kernel.wasm.cache import CodeCache
from ipvm_kernel.wasm.interface import Interface, known_interface

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.wasm.module import Module

KEPT_MODULES: Final = 32
"""Modules kept ready; the least recently used goes first. Its code stays in the cache on disk."""


class Library:
    """The modules of a session."""

    def __init__(self, folder: Path | None) -> None:
        """Keep compiled code in `folder`, or until the process ends."""
        self._folder = folder
        self._cache: CodeCache | None = None
        self._interfaces: dict[CID, Interface] = {}
        self._modules: OrderedDict[CID, Module] = OrderedDict()
        self._unlock()

    def _unlock(self) -> None:
        """Make the locks. A forked process makes its own, for those it was born with may be held by threads it lacks."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loading: dict[CID, threading.Lock] = {}

    @property
    def cache(self) -> CodeCache:
        """Where compiled code is kept."""
        if self._cache is None:
            self._cache = CodeCache(self._folder)
        return self._cache

    def interface(self, cid: CID, read: Callable[[CID], bytes]) -> Interface:
        """Return what a module offers.

        Args:
            cid: The CID of its bytes.
            read: Gives the bytes, if they are needed.

        Raises:
            BadModule: It cannot be loaded.
            NotFound: `read` did not find it.
        """
        found = self._interfaces.get(cid)
        if found is None:
            found = known_interface(str(cid), self.cache) or self.module(cid, read).interface
            self._interfaces[cid] = found
        return found

    def module(self, cid: CID, read: Callable[[CID], bytes]) -> Module:
        """Return a module ready to run, loaded once however many threads ask.

        Raises:
            BadModule, NotFound: As `interface` does.
        """
        if self._pid != os.getpid():
            self._unlock()
        with self._lock:
            module = self._modules.get(cid)
            if module is not None:
                self._modules.move_to_end(cid)
                return module
            loading = self._loading.setdefault(cid, threading.Lock())
        with loading:
            with self._lock:
                module = self._modules.get(cid)
            if module is None:
                from ipvm_kernel.wasm.module import load

                module = load(str(cid), read(cid), self.cache)
                with self._lock:
                    self._modules[cid] = module
                    self._loading.pop(cid, None)
                    if len(self._modules) > KEPT_MODULES:
                        self._modules.popitem(last=False)
        return module
