"""`%ipvm VERB`, and `%%wasm`: what is typed besides Python."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics as _Magics
from IPython.core.magic import line_cell_magic, magics_class

from ipvm import verbs

if TYPE_CHECKING:
    import argparse


@magics_class
class Magics(_Magics):
    """The magics of ipvm."""

    def _names(self) -> dict[str, Any]:
        """Return the user's own names."""
        assert self.shell is not None
        names: dict[str, Any] = self.shell.user_ns
        return names

    @line_cell_magic
    def ipvm(self, line: str, cell: str | None = None) -> Any:
        """Ask ipvm: %ipvm VERB ...; or run a cell: %%ipvm [NAME] [--rerun [TASK...]] [--keep-going] [--plan] [--time S] ...

        As a line: one of the verbs; `%ipvm help` lists them, `%ipvm help VERB` says more.

        As the first line of a cell: the cell is plain Python, and every handle made in it is one workflow, run at the
        end of the cell, live and interruptible.

            %%ipvm photo
            crop = imgops.crop(ipvm.file("photo.png"), x=150, y=100, width=300, height=200)
            grey = imgops.grayscale(crop)
        """
        if cell is not None:
            raise UsageError("%%ipvm: it must be the first line of a cell, and `%load_ext ipvm` in another before it")
        from ipvm_kernel import errors

        try:
            view, as_json = verbs.perform(_words(line), names=self._names(), program="%ipvm")
        except verbs.Usage as error:
            raise UsageError(str(error)) from None
        if as_json:
            from ipvm_kernel import dagjson

            for value in view.data:
                print(dagjson.dumps(value))
            if view.failed:
                raise errors.TaskFailed(f"{line.split(maxsplit=1)[0]} found failures; they are listed above")
            return None
        if getattr(view, "failed", False):
            print(view)
            raise errors.TaskFailed(f"{line.split(maxsplit=1)[0]} found failures; they are listed above")
        return view

    @line_cell_magic
    def wasm(self, line: str, cell: str | None = None) -> Any:
        """Make a module of source: %%wasm NAME [--lang zig|c|wat|...] [--world FILE] [--flag F ...], or %wasm NAME FILE.

        The cell's source becomes a module bound to NAME. A build is a task: it is replayed from its receipt. The world
        of a compiled language stands in comment lines, `//| wit export add: func(a: s32, b: s32) -> s32;`.

            %%wasm demo --lang wat
            (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
        """
        given = wasm_parser().parse_args(_words(line))
        source = cell
        if source is None:
            if not given.file:
                raise UsageError(
                    "%wasm: expected a file of source after the name; `%%wasm NAME` takes it from the cell"
                )
            path = Path(given.file).expanduser()
            try:
                source = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"%wasm: {path} cannot be read: {error}") from None
        lang = given.lang or (Path(given.file).suffix.lstrip(".") if given.file else "wat")
        world = Path(given.world).expanduser().read_text(encoding="utf-8") if given.world else None
        if not given.name.isidentifier():
            raise UsageError(f"%%wasm: expected a name for the module, found {given.name!r}")
        module = _built(source, lang=lang, world=world, flags=given.flag or (), name=given.name)
        self._names()[given.name] = module
        return module


def _built(source: str, **options: Any) -> Any:
    """Build a module; where no compiler is installed, look among the builds that came with the package."""
    from ipvm_kernel import errors
    from ipvm_kernel.session import default

    session = default()
    try:
        return session.build(source, **options)
    except errors.ToolchainMissing:
        from ipvm import shipped

        if not shipped.admit_builds(session):
            raise
        return session.build(source, **options)


def wasm_parser() -> argparse.ArgumentParser:
    """Return a parser of what follows `%%wasm`."""
    options = verbs.quiet_parser("%%wasm", "Build a module from the cell's source.")
    options.add_argument("name", help="bind the module to this name")
    options.add_argument(
        "file", nargs="?", default="", help="a file of source, for %%wasm as a line".replace("%%", "%")
    )
    options.add_argument("--lang", default="", help="the toolchain (wat)")
    options.add_argument(
        "--world", default="", metavar="FILE", help="a WIT file, if the world does not stand in the source"
    )
    options.add_argument("--flag", action="append", metavar="F", help="a flag of the compiler")
    return options


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%ipvm: {error}") from None
