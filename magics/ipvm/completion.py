"""Completion: verbs, options, names and CIDs in our magics, and CIDs anywhere in the IPVM kernel."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from ipvm import cells, verbs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from IPython.core.interactiveshell import InteractiveShell

_CID: Final = re.compile(r"(?:ipfs://)?(ba[a-z2-7]{4,})$")
_MOST: Final = 40


def install(shell: InteractiveShell) -> Callable[[], None]:
    """Add the matcher to a shell's completer, and return what takes it away."""
    matcher = _matcher(shell)
    shell.Completer.custom_matchers.append(matcher)

    def remove() -> None:
        if matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(matcher)

    return remove


def _matcher(shell: InteractiveShell) -> Any:
    @context_matcher()  # type: ignore[untyped-decorator]
    def ipvm_matcher(context: CompletionContext) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        found = _magic(line, shell.user_ns)
        if found is None:
            match = _CID.search(line)
            words = _cids(match[1]) if match and getattr(shell, "ipvm_completes_cids", False) else []
            return {"completions": [SimpleCompletion(text=word, type="cid") for word in words], "suppress": bool(words)}
        token = context.token
        return {
            "completions": [SimpleCompletion(text=word, type="ipvm") for word in found if word.startswith(token)],
            "suppress": True,
        }

    ipvm_matcher.matcher_identifier = "ipvm"
    return ipvm_matcher


def _magic(line: str, names: dict[str, Any]) -> Iterable[str] | None:
    """Return the words that can stand at the end of a line of ours, or None if it is not ours."""
    if line.startswith(("%%ipvm ", "%%ipvm\t")):
        return _options(cells.parser())
    if line.startswith(("%%wasm ", "%wasm ")):
        from ipvm.magics import wasm_parser

        return [*_options(wasm_parser()), *_langs(line)]
    match = re.match(r"\s*%ipvm\s+(\S*)(.*)$", line)
    if match is None:
        return None
    name, rest = match[1], match[2]
    if not rest:
        return [verb for verb in verbs.VERBS if verb.startswith(name)]
    verb = verbs.VERBS.get(name)
    if verb is None:
        return []
    words = _options(verb.parser())
    if any(argument.thing for argument in verb.arguments):
        words += sorted(key for key, value in names.items() if not key.startswith("_") and _is_ours(value))
        match = _CID.search(line)
        words += _cids(match[1]) if match else []
    if verb.name == "help":
        words += list(verbs.VERBS)
    return words


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings if option.startswith("--")]  # noqa: SLF001 - argparse has no public list


def _langs(line: str) -> list[str]:
    if not re.search(r"--lang\s+\S*$", line):
        return []
    from ipvm_kernel.session import plugins

    return plugins.names("toolchains")


def _is_ours(value: object) -> bool:
    return type(value).__module__.startswith("ipvm_kernel.")


def _cids(begun: str) -> list[str]:
    """Return the CIDs of the store that begin so."""
    defaults = sys.modules.get("ipvm_kernel.session.defaults")
    session = defaults.current() if defaults is not None else None
    return [str(cid) for cid in session.store.find(begun, _MOST)] if session is not None else []
