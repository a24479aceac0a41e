"""A thread on which a guest can run: not the main one, and with a stack that its recursion does not overflow.

Python runs its signal handlers on the main thread, and the first code that runs there after Ctrl-C may be a function that
the engine calls: an exception from it goes up through native frames and ends the process. With less than 1.5 MiB of stack
a guest's recursion ends it too. So calls from such threads go to one of their own, and whoever waits can be interrupted.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.wasm.stop import Stop

THREAD_STACK_BYTES: Final = 8 << 20
"""Stack of a thread that runs guests."""

_ENOUGH_BYTES: Final = 4 << 20
_FRAMES: Final = 28  # from here to the depths of a function of the host
_ATTRIBUTES_BYTES: Final = 256  # more than a pthread_attr_t takes anywhere

_local = threading.local()
_starting = threading.Lock()

T = TypeVar("T")


def with_room(work: Callable[[], T], stop: Stop, frames: int = 0) -> T:
    """Return what `work` returns, from this thread if a guest can run on it and from a new one otherwise.

    An exception that reaches whoever waits, such as KeyboardInterrupt, stops the work through `stop`.

    Args:
        work: What is to be done.
        stop: The way to end it.
        frames: How deep it goes before the engine is called, besides a few.
    """
    try:
        fits = _local.fits
    except AttributeError:
        fits = _local.fits = (
            threading.current_thread() is not threading.main_thread() and stack_bytes() >= _ENOUGH_BYTES
        )
    if not fits:
        return _elsewhere(work, stop)
    _probe(_FRAMES + frames)  # a RecursionError is raised here, and not where the engine calls back
    return work()


def _probe(frames: int) -> None:
    if frames:
        _probe(frames - 1)


def _elsewhere(work: Callable[[], T], stop: Stop) -> T:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the future carries it to whoever waits
            future.set_exception(error)

    with _starting:
        usual = threading.stack_size(THREAD_STACK_BYTES)  # taken by the thread that starts next
        try:
            threading.Thread(target=run, name="ipvm-guest", daemon=True).start()
        finally:
            threading.stack_size(usual)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            stop.interrupt()
            wait([future])
        raise


def stack_bytes() -> int:
    """Return the size of this thread's stack, or 0 if the system does not say."""
    ident = ctypes.c_void_p(threading.get_ident())
    libc = ctypes.CDLL(None)
    try:
        if sys.platform == "darwin":
            libc.pthread_get_stacksize_np.restype = ctypes.c_size_t
            return int(libc.pthread_get_stacksize_np(ident))
        attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
        if libc.pthread_getattr_np(ident, attributes):
            return 0
        start, size = ctypes.c_void_p(), ctypes.c_size_t()
        libc.pthread_attr_getstack(attributes, ctypes.byref(start), ctypes.byref(size))
        libc.pthread_attr_destroy(attributes)
    except AttributeError:  # a C library without these functions
        return 0
    return size.value


def _after_fork() -> None:
    global _local, _starting
    _local, _starting = threading.local(), threading.Lock()  # the thread that forked is the main thread now


os.register_at_fork(after_in_child=_after_fork)
