"""Modules and functions as a person calls them: `imgops.crop(photo, x=150, ...)` makes a handle and runs nothing."""

from __future__ import annotations

import inspect
import keyword
import os
import re
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipvm_kernel import notebook
from ipvm_kernel.errors import BadArgument, BadInput
from ipvm_kernel.handles import File, Handle, Promised
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model import WASM_RUN, Instruction, Promise, Task
from ipvm_kernel.model.instruction import check_nonce
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.wasm.author import Call
from ipvm_kernel.wasm.interface import Interface, unknown_function

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.handles import Home
    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.named import Named


class Maker(Protocol):
    """What a function asks of its session."""

    @property
    def home(self) -> Home:
        """Where the handles that it makes belong."""

    @property
    def named(self) -> Named:
        """The CIDs of large arguments that were named before."""

    def keep(self, data: bytes | memoryview) -> CID:
        """Keep an argument's bytes and return their CID."""

    def keep_file(self, path: os.PathLike[str]) -> CID:
        """Keep a file's bytes and return their CID."""


class _Scope:
    """What the arguments of one call refer to, and which handles are among them."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self.parents: list[Handle] = []

    def reference(self, value: object) -> Ipld:
        match value:
            case Handle():
                self.parents.append(value)
                return Promise("ok", value.cid).to_ipld()
            case Promised():
                self.parents.append(value.handle)
                return value.promise.to_ipld()
            case File(cid=cid):
                return cid
            case CID():
                return value
            case _:
                return None

    @property
    def named(self) -> Named:
        return self._maker.named

    def keep(self, data: bytes | memoryview) -> CID:
        return self._maker.keep(data)

    def keep_file(self, path: os.PathLike[str]) -> CID:
        return self._maker.keep_file(path)


class Function:
    """A function of a module. Calling it declares a task and returns its handle; nothing runs."""

    def __init__(
        self,
        maker: Maker,
        rsc: str,
        signature: wit.Signature,
        where: str,
        *,
        meta: dict[str, Any] | None = None,
        nonce: Any = "",
    ) -> None:
        self._maker = maker
        self._rsc = rsc
        self._where = where
        self._meta = meta or {}
        self._nonce = nonce
        self._call = Call(signature)
        self.signature = signature
        self.__name__ = self.__qualname__ = signature.name
        self.__doc__ = (
            f"{signature.name}: {signature}\n\nA function of {where}. Calling it makes a handle; .result() runs it."
        )
        self.__signature__ = _python_signature(signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Handle:
        """Declare a task: this function with these arguments.

        Raises:
            BadArgument: An argument does not fit; the message names parameter and WIT type.
        """
        scope = _Scope(self._maker)
        wires = self._call.arguments(args, kwargs, scope)
        run = Instruction(
            rsc=self._rsc, op=WASM_RUN, input={"func": self.signature.name, "args": wires}, nnc=self._nonce
        )
        handle = Handle(self._maker.home, Task(run=run, meta=self._meta), self.signature, tuple(scope.parents))
        notebook.made(handle)
        return handle

    def map(self, *args: Any, **kwargs: Any) -> Handles:
        """Declare one task for each value of the arguments that are axes: ranges, generators and `ipvm.each(...)`.

        Several axes go side by side, as with `zip`, and must have equal lengths. Other arguments are the same for all.

        Raises:
            BadArgument: No argument is an axis, or their lengths differ.
        """
        axes = {i: list(value) for i, value in enumerate(args) if is_axis(value)}
        named = {key: list(value) for key, value in kwargs.items() if is_axis(value)}
        lengths = {len(values) for values in (*axes.values(), *named.values())}
        if not lengths:
            raise BadArgument(
                f"{self.signature.name}.map needs an argument to go along: a range, a generator, or ipvm.each(values)"
            )
        if len(lengths) > 1:
            raise BadArgument(
                f"the arguments to go along have different lengths: {', '.join(map(str, sorted(lengths)))}"
            )
        (count,) = lengths
        return Handles(
            self(
                *(axes[i][n] if i in axes else value for i, value in enumerate(args)),
                **{key: named[key][n] if key in named else value for key, value in kwargs.items()},
            )
            for n in range(count)
        )

    def with_options(
        self,
        *,
        time: float | None = None,
        memory: str | int | None = None,
        fuel: float | None = None,
        nonce: str | bytes | None = None,
    ) -> Function:
        """Return this function with limits or a nonce for the tasks that it declares.

        Args:
            time: Seconds that a task may run.
            memory: Bytes that it may use, as a number or as text: "512 MB" is 512,000,000, "512 MiB" is 2^29.
            fuel: Steps that it may take.
            nonce: What makes it another task although all else is equal: 12 or 16 bytes, or those as base32hex text.

        Raises:
            BadInput: A value is out of range or malformed.
        """
        meta = dict(self._meta)
        if time is not None:
            if not 0 < time < 1e15:
                raise BadInput(f"time must be a number of seconds above 0, found {time}")
            meta["time"] = _positive("time", max(1, round(time * 1000)))
        if memory is not None:
            meta["memory"] = _positive("memory", bytes_of(memory))
        if fuel is not None:
            meta["fuel"] = _positive("fuel", fuel)
        if nonce is not None:
            check_nonce(nonce)
        chosen = self._nonce if nonce is None else nonce
        return Function(self._maker, self._rsc, self.signature, self._where, meta=meta, nonce=chosen)

    def __repr__(self) -> str:
        return f"<function {self.signature.name}{str(self.signature).removeprefix('func')} of {self._where}>"


class Module:
    """The functions of a Wasm module, by name: `imgops.crop`, or `imgops["add-one"]`. It holds nothing else."""

    __slots__ = ("_cid", "_functions", "_interface", "_name", "_size")

    def __init__(self, maker: Maker, cid: CID, interface: Interface, name: str = "", length: int = 0) -> None:
        self._cid = cid
        self._interface = interface
        self._name = name or cid.short
        self._size = length
        where = printable(self._name, limit=80)
        self._functions = {f.name: Function(maker, f"ipfs://{cid}", f, where) for f in interface.functions}

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Function:
        found = self._functions.get(name) or self._functions.get(name.rstrip("_").replace("_", "-"))
        if found is None:
            raise unknown_function(name, list(self._functions))
        return found

    def __dir__(self) -> Iterable[str]:
        return [python_name(name) for name in self._functions]

    def __iter__(self) -> Iterator[Function]:
        return iter(self._functions.values())

    def __len__(self) -> int:
        return len(self._functions)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __repr__(self) -> str:
        return f"<module {printable(self._name, limit=80)}: {self._interface}, {size(self._size)}, {self._cid}>"


class Each:
    """Values to go along in a `map`, one task each: what `ipvm.each` gives."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = list(values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<each of {plural(len(self.values), 'value')}>"


class Handles(list[Handle]):
    """The handles of a `map`, in order."""

    def results(self, timeout: float | None = None) -> list[Any]:
        """Return all values, run as one workflow."""
        if not self:
            return []
        return gather(*self, timeout=timeout)

    def __repr__(self) -> str:
        if not self:
            return "<no handles>"
        known = self[0]._home.count_known([handle.cid for handle in self])  # noqa: SLF001 - a handle of ours
        name = printable(self[0].instruction.func, limit=80)
        return f"<{plural(len(self), 'handle')} of {name}: {known:,} on file>"


def gather(*handles: Any, timeout: float | None = None) -> list[Any]:
    """Return the values of some handles, run as one workflow.

    Raises:
        TaskFailed: One of them has no ok value; what the others gave is on file.
    """
    flat: list[Any] = []
    for item in handles:
        flat.extend(item if isinstance(item, Iterable) and not isinstance(item, Handle) else [item])
    strange = next((item for item in flat if not isinstance(item, Handle)), None)
    if strange is not None:
        raise BadInput(f"expected handles to gather, found a {type(strange).__name__}")
    if not flat:
        return []
    home: Any = flat[0]._home  # noqa: SLF001
    return list(home.results_of(flat, timeout=timeout))


def handles_in(what: Any) -> list[Handle]:
    """Return the handles that somebody wants run: one, or an iterable of them.

    Raises:
        BadInput: Something else is among them.
    """
    if isinstance(what, Handle):
        return [what]
    ends: list[Any] = list(what) if isinstance(what, Iterable) and not isinstance(what, str | bytes) else [what]
    strange = next((end for end in ends if not isinstance(end, Handle)), None)
    if strange is not None:
        hint = ". ipvm.Workflow.load(path) reads a file" if isinstance(strange, str) else ""
        raise BadInput(f"expected a workflow or handles, found {type(strange).__name__}{hint}")
    return ends


def is_axis(value: object) -> bool:
    """Return True if a `map` goes along this argument: a range, a generator or `ipvm.each(...)`."""
    if isinstance(value, range | Each):
        return True
    return isinstance(value, Iterator) and not isinstance(value, Sized) and not isinstance(value, Handle)


_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip


def bytes_of(text: str | float) -> int:
    """Return the number of bytes that a text means.

    >>> bytes_of("512 MB"), bytes_of("512 MiB"), bytes_of(1000)
    (512000000, 536870912, 1000)

    Raises:
        BadInput: It is no size.
    """
    if isinstance(text, int | float):
        return _positive("a size", text)
    match = re.fullmatch(r"\s*([\d_]+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise BadInput(f"expected a size such as '512 MB' or '2 GiB', found {printable(text, limit=40)!r}")
    return round(float(match[1]) * _UNITS[match[2].lower()])


def _positive(name: str, value: float) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{name} must be a number, found a {type(value).__name__}")
    if not 0 < value < 1 << 63 or value != int(value):
        raise BadInput(f"{name} must be a whole number above 0 and below 2^63, found {value}")
    return int(value)


def python_name(name: str) -> str:
    """Return a WIT name as Python spells it: `add-one` is `add_one`, `import` is `import_`."""
    snake = name.replace("-", "_")
    return f"{snake}_" if keyword.iskeyword(snake) else snake


def _python_signature(signature: wit.Signature) -> inspect.Signature:
    """Return a signature for help, completion and Shift-Tab, with WIT types as annotations."""
    required = signature.required
    return inspect.Signature(
        [
            inspect.Parameter(
                python_name(param.name),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=_Wit(str(param.type)),
                default=inspect.Parameter.empty if i < required else None,
            )
            for i, param in enumerate(signature.params)
        ],
        return_annotation=_Wit(str(signature.result)) if signature.result is not None else None,
    )


class _Wit:
    """A WIT type as an annotation: it shows itself as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def module_name(source: str | Path) -> str:
    """Return what a module given by a path or address is called in messages."""
    return os.path.basename(str(source)).removesuffix(".wasm").removesuffix(".wat")  # noqa: PTH119 - addresses too
