"""The functions of the default session that people call: `ipvm.module`, `ipvm.file`, `ipvm.run` and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ipvm_kernel.session import Array, Each, File, Handle, Module, Run, default

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable

    from ipvm_kernel import CID, Receipt, Workflow


def module(source: str | bytes | os.PathLike[str] | CID | File, name: str = "") -> Module:
    """Return the functions of a Wasm module: a component, a core module or WAT text.

    Args:
        source: A path, the bytes, a CID or an address (`ipfs://`, the URL of a gateway, `https:`, `file:`), fetched now.
        name: What to call it in messages.

    Raises:
        BadModule: It is not Wasm that ipvm can run; the message says why.
        NotFound: There is no such file, or nobody has what the CID or address names.
    """
    return default().module(source, name)


def file(path: str | os.PathLike[str]) -> File:
    """Return a link to a file's bytes, hashed now. As an argument of a task it means the bytes.

    A text with `://` in it is an address (`ipfs://`, the URL of a gateway, `https:`, `file:`), fetched now.

    Raises:
        NotFound: There is no such file.
    """
    return default().file(path)


def put(value: Any) -> File:
    """Return a link to a value: bytes as a file, anything else as a dag-cbor block.

    Raises:
        Unencodable: It has no IPLD form; the message names the place.
    """
    return default().put(value)


@overload
def secret(value: Handle, name: str = "") -> Handle: ...
@overload
def secret(value: Any, name: str = "") -> File: ...
def secret(value: Any, name: str = "") -> File | Handle:
    """Mark what must not leave this machine, nor anything that comes of it: `ipvm share` and caches refuse that.

    The mark is a pin, `secret/NAME`; `ipvm unpin` takes it away. Tasks see the value itself. Its CID is in the names of
    tasks, so a value that can be guessed can be recognised by who has them. What Python makes of a value is not known to
    have come of it: hand on the handle or the link itself.

    Args:
        value: Bytes, or any value that has an IPLD form; a file or link; or a handle, for what a task gives.
        name: What to call it.

    Returns:
        A link to the value; the link or handle itself where one was given.

    Raises:
        NotAllowed: Another secret is called so.
        Unencodable: It has no IPLD form.
    """
    from ipvm_kernel.session import shares

    session = default()
    if isinstance(value, Handle):
        session.keep_tasks([value.task])
        made: File | Handle = value
    else:
        made = value if isinstance(value, File) else session.put(value)
    shares.secret(session, made.cid, name)
    return made


def handle(cid: CID | str) -> Handle:
    """Return the handle of an instruction that is in the store.

    Raises:
        NotFound: It is not there.
    """
    return default().handle(cid)


def each(values: Iterable[Any]) -> Each:
    """Return values to go along in a `map`, one task each.

    >>> each([1, 2, 3])
    <each of 3 values>
    """
    return Each(values)


def array(value: Any) -> Array:
    """Return data whose missing values are meant: NaN is sent, in its one canonical form."""
    return Array(value)


def run(what: Workflow | Handle | Iterable[Handle], *, rerun: bool | Collection[CID] = False, name: str = "") -> Run:
    """Run a workflow, a handle or handles, and return the run: iterate it for answers as they come, or `await` it.

    Args:
        what: What to run.
        rerun: Run tasks although their receipts are on file: all, or those given; the receipts are compared.
        name: What to call it.
    """
    return default().run(what, rerun=rerun, name=name)


def explore(what: Run | Workflow | Receipt | Handle) -> None:
    """Show the live graph of a run, a workflow, a handle or what led to a receipt; its picture outside a notebook.

    Raises:
        BadInput: It is none of these.
        NotFound: The task of the receipt is not in this session's store.
    """
    from ipvm.exploring import explore as show

    show(what)
