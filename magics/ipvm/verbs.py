"""The verbs: one table behind the shell (`ipvm why X`), the magic (`%ipvm why X`) and Python (`ipvm.why(x)`).

A verb's function stands in `ipvm.commands`. It takes what its arguments name, as text or as objects, and returns a
`View`. Adding a verb is adding a line here and a function there.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Argument:
    """An argument of a verb, as argparse takes it.

    Attributes:
        names: `x` for a place, or `--option`.
        help: What it is for.
        options: More for argparse.
        thing: True if it may be the name of a handle, module, run or other object of the user's.
    """

    names: tuple[str, ...]
    help: str
    options: dict[str, Any] = field(default_factory=dict)
    thing: bool = False

    @property
    def key(self) -> str:
        """The name of the function's parameter."""
        return str(self.options.get("dest") or self.names[-1].lstrip("-").replace("-", "_"))


@dataclass(frozen=True)
class Verb:
    """A verb.

    Attributes:
        name: What is typed.
        where: The module of `ipvm.commands` that has its function.
        summary: One sentence on what it does.
        arguments: What it takes, besides `--json`.
        streams: True if its module has a function `stream` besides, of the same arguments, for `--json`.
    """

    name: str
    where: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    streams: bool = False

    def function(self, *, stream: bool = False) -> Callable[..., Any]:
        """Return the function behind the verb, or the one that gives its lines one by one."""
        module = importlib.import_module(f"ipvm.commands.{self.where}")
        found: Callable[..., Any] = getattr(module, "stream" if stream else self.name)
        return found

    def parser(self, program: str = "ipvm") -> argparse.ArgumentParser:
        """Return a parser of what follows the verb, which raises `Usage` instead of leaving."""
        parser = quiet_parser(f"{program} {self.name}", self.summary)
        for argument in self.arguments:
            parser.add_argument(*argument.names, help=argument.help, **argument.options)
        parser.add_argument("--json", action="store_true", help="one DAG-JSON value a line")
        return parser


class Usage(Exception):
    """What was typed is no command; the message is one line that says how to say it."""


def quiet_parser(program: str, summary: str) -> argparse.ArgumentParser:
    """Return a parser that raises `Usage` with one line where argparse would print and leave."""
    return _Parser(prog=program, description=summary, add_help=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"{self.prog}: {message}. Usage: {' '.join(self.format_usage().split()[1:])}")


def _x(help: str = "a name, a CID, or the short form of a CID", **options: Any) -> Argument:  # noqa: A002 - argparse's word
    return Argument(("x",), help, options, thing=True)


VERBS: Final[dict[str, Verb]] = {
    verb.name: verb
    for verb in (
        Verb("run", "running", "Run a workflow file, replaying what has a receipt.", (
            Argument(("what",), "a workflow file, or a name", {"metavar": "FILE"}, thing=True),
            Argument(("--rerun",), "run every task, and compare with the receipts on file", {"action": "store_true"}),
            Argument(("-n", "--name"), "what to call it (the name in the file, or its CID)", {"default": ""}),
            Argument(("--node",), "run it on a node: 'ws://HOST:PORT'", {"metavar": "URL"}),
            Argument(("--grant",), "what that node's owner gave you, or a file with it", {"metavar": "FILE"}),
        ), streams=True),
        Verb("cid", "looking", "Print the CIDs of a workflow file, or of any file or folder.", (
            Argument(("what",), "a file, or a name", {"metavar": "FILE"}, thing=True),
        )),
        Verb("show", "looking", "Show what a name or a CID stands for: fields, links, state, lineage.", (
            _x(),
            Argument(("--html",), "write one page to be read offline", {"nargs": "?", "const": "", "metavar": "FILE"}),
        )),
        Verb("why", "tracing", "Say why a task is replayed or run: a hit, a miss or uncacheable, and because of what.", (_x(),)),
        Verb("inputs", "tracing", "List what a value was made of in the end: modules, files, literals, and the cells.", (_x(),)),
        Verb("uses", "tracing", "List what was made with a task, a file or a module, in all notebooks.", (_x(),)),
        Verb("diff", "tracing", "Show how two tasks, receipts or runs differ, down to the first input.", (
            Argument(("a",), "a name, a CID, or the short form of a CID", thing=True),
            Argument(("b",), "the other", thing=True),
        )),
        Verb("trace", "tracing", "Show the steps that lead to a value, up to modules, files, literals and cells.", (_x(),)),
        Verb("receipts", "looking", "List the latest receipts.", (
            Argument(("-n", "--count"), "how many (20)", {"type": int, "default": 20}),
        )),
        Verb("status", "looking", "Show this session: its store, its limits, and what ran last."),
        Verb("store", "keeping", "Show what the store holds, and its limit."),
        Verb("verify", "keeping", "Hash what the store holds against its CIDs.", (
            Argument(("--sample",), "look at a part, '5%%' say", {"default": "100%", "metavar": "P%"}),
        )),
        Verb("gc", "keeping", "Drop values of pure tasks, the least recently used first, to make room.", (
            Argument(("--to",), "until the store holds this much: '2 GB'", {"metavar": "SIZE"}),
            Argument(("--older",), "only what was not used for this long: '30 d', '12 h'", {"metavar": "T"}),
            Argument(("--dry-run",), "say what would go", {"action": "store_true"}),
        )),
        Verb("forget", "keeping", "Take a task's receipts off file, so that it runs again.", (_x(),)),
        Verb("pin", "keeping", "Keep what a CID reaches, whatever room is needed.", (
            _x(),
            Argument(("name",), "the name of the pin (the CID's short form)", {"nargs": "?", "default": ""}),
        )),
        Verb("unpin", "keeping", "Take a pin away.", (Argument(("name",), "the name of the pin"),)),
        Verb("get", "exchanging", "Fetch what a CID or an address names, check it, and keep it.", (
            Argument(("what",), "a CID, ipfs://, https: or file:", {"metavar": "ADDRESS"}),
            Argument(("file",), "where to write it, too", {"nargs": "?", "default": None, "metavar": "FILE"}),
        )),
        Verb("share", "sharing", "Make one CID of a notebook with all that its receipts need, and write its archive.", (
            Argument(("what",), "a notebook, or a name, workflow or receipt", {"nargs": "?", "default": None, "metavar": "NOTEBOOK|X"}, thing=True),
            Argument(("-o", "--output"), "the folder of the archive (the working directory)", {"metavar": "DIR"}),
            Argument(("--ipfs",), "give it to the Kubo of this machine, pinned", {"action": "store_true"}),
            Argument(("--dry-run",), "say what would leave, and share nothing", {"action": "store_true"}),
            Argument(("--limit",), "leave out inputs and outputs of more: '100 MB'", {"metavar": "SIZE"}),
            Argument(("--with",), "some of modules,inputs,outputs,files (all)", {"metavar": "PARTS", "dest": "with_"}),
            Argument(("--unsigned",), "do not sign for what was made here", {"action": "store_true"}),
            Argument(("--undo",), "take the share back: its pins go", {"action": "store_true"}),
        )),
        Verb("open", "sharing", "Write a shared notebook to a folder: checked, nothing run, nothing trusted.", (
            Argument(("what",), "the CID of a share, or its archive", {"metavar": "CID|FILE.car"}),
            Argument(("-o", "--output"), "the folder to write", {"metavar": "DIR"}),
        )),
        Verb("check", "sharing", "Check each receipt of a notebook, archive or share: intact, by whom, and the same again?", (
            Argument(("what",), "a notebook, an archive, or the CID of a share", {"metavar": "NOTEBOOK|CID"}),
            Argument(("--rerun",), "run tasks again, never the notebook's Python: 'all', or a part, '5%%'", {"metavar": "P%"}),
            Argument(("--time",), "with --rerun, seconds that each task may run (60)", {"metavar": "SECONDS"}),
        )),
        Verb("id", "sharing", "Show who you are to readers of what you share."),
        Verb("load", "exchanging", "Bring in a file: an archive (.car), a database of Homestar's, a capsule, or a workflow.", (
            Argument(("file",), "its path", {"metavar": "FILE"}),
            Argument(("--trust",), "its receipts may be replayed, where they mean the same here", {"action": "store_true"}),
        )),
        Verb("export", "exchanging", "Write receipts, graphs and provenance for others: archive, capsule, picture, PROV, RO-Crate.", (
            _x("a receipt, a task or a workflow", nargs="?", default=None),
            Argument(("file",), "the file, whose ending says the format", {"nargs": "?", "default": None, "metavar": "FILE"}),
            Argument(("--with",), "for an archive: some of modules,inputs,outputs (all)", {"metavar": "PARTS", "dest": "with_"}),
            Argument(("--format",), "car, capsule, dot, mermaid, svg, png, prov or crate", {"metavar": "F"}),
            Argument(("--homestar-db",), "a database that Homestar replays from: of all, or of X", {"metavar": "FILE"}),
        )),
        Verb("cache", "caches", "Ask a lab's cache before anything runs, serve this store as one, or give to one.", (
            Argument(("action",), "serve, add, remove, list or push", {"nargs": "?", "default": "list", "choices": ["serve", "add", "remove", "list", "push"]}),
            Argument(("what",), "the cache's address or folder; with push, a name or notebook", {"nargs": "?", "default": None, "metavar": "URL|X"}, thing=True),
            Argument(("url",), "with push, the one cache to give to", {"nargs": "?", "default": None, "metavar": "URL"}),
            Argument(("--token",), "to write to it", {"metavar": "TOKEN"}),
            Argument(("--write",), "give it what is pushed", {"action": "store_true"}),
            Argument(("--writable",), "serve for writers too, who show the token", {"action": "store_true"}),
            Argument(("--host",), "where to serve (127.0.0.1)", {"default": "127.0.0.1"}),
            Argument(("--port",), "the port to serve on (1336); 0 takes any", {"type": int, "metavar": "N"}),
        )),
        Verb("node", "nodes", "Start, stop, ping or ask the node that serves Homestar's JSON-RPC from this store.", (
            Argument(("action",), "start, stop, ping or info", {"choices": ["start", "stop", "ping", "info"]}),
            Argument(("--port",), "the first port that is tried (1337); 0 takes any", {"type": int, "metavar": "N"}),
            Argument(("--settings",), "a TOML file", {"metavar": "FILE"}),
            Argument(("--without-token",), "serve clients of this machine that know no token", {"action": "store_true"}),
            Argument(("--foreground",), "serve here, until stopped", {"action": "store_true"}),
        )),
        Verb("peer", "peers", "Call a peer, list who is connected, or send them receipts.", (
            Argument(("address",), "its multiaddr; without one, list who is connected", {"nargs": "?", "default": None}),
            Argument(("--publish",), "send the receipts of this to the peers", {"metavar": "X", "default": None}, thing=True),
            Argument(("--find",), "ask the peers for the receipt of this", {"metavar": "X", "default": None}, thing=True),
            Argument(("--leave",), "leave the network", {"action": "store_true"}),
        )),
        Verb("trust", "trusting", "Say whose receipts are used, and who may run on your node; without words, list them.", (
            Argument(("what",), "add, remove, allow, quorum, optimistic, revoke, or a DID or peer", {"nargs": "?", "default": None, "metavar": "WHAT"}),
            Argument(("who",), "a DID, the id of a peer, a number, on or off, or a CID", {"nargs": "?", "default": None, "metavar": "WHO"}),
            Argument(("--for",), "for the tasks of this module alone", {"metavar": "MODULE", "dest": "module"}, thing=True),
            Argument(("--name",), "what to call it", {"default": ""}),
            Argument(("--sample",), "the part that is run again with `optimistic` (5%%)", {"metavar": "P%"}),
            Argument(("--until",), "how long it may run here, with `allow` (30 d)", {"metavar": "T"}),
            Argument(("--remove",), "trust it no longer", {"action": "store_true"}),
        )),
        Verb("toolchains", "installing", "List the languages of %%wasm, and which of them can compile here."),
        Verb("plugins", "installing", "List operations, executors, stores and toolchains."),
        Verb("demo", "installing", "Write the notebooks, their modules and data to a folder.", (
            Argument(("folder",), "where (ipvm-demo)", {"nargs": "?", "default": "ipvm-demo", "metavar": "DIR"}),
            Argument(("--run",), "run them headless, twice, and print the receipts", {"action": "store_true"}),
        )),
        Verb("kernel", "installing", "Install the kernel 'IPVM (Python)' for this Python.", (
            Argument(("action",), "install", {"choices": ["install"]}),
            Argument(("--user",), "for this user", {"action": "store_true"}),
            Argument(("--sys-prefix",), "for this environment", {"action": "store_true"}),
            Argument(("--prefix",), "under this folder", {"metavar": "DIR"}),
            Argument(("--name",), "under this name (ipvm)", {"default": "ipvm"}),
        )),
        Verb("doctor", "installing", "Check this installation: versions, folders, limits."),
        Verb("help", "installing", "List the verbs.", (
            Argument(("verb",), "a verb, for more about it", {"nargs": "?", "default": ""}),
        )),
    )
}  # fmt: skip


def find(name: str) -> Verb:
    """Return the verb of this name.

    Raises:
        Usage: There is none.
    """
    verb = VERBS.get(name)
    if verb is None:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise Usage(f"ipvm has no verb {name[:60]!r}.{hint} There are: {', '.join(VERBS)}")
    return verb


def perform(words: list[str], *, names: dict[str, Any] | None = None, program: str = "ipvm") -> tuple[Any, bool]:
    """Do what some words say, and return the view and whether `--json` was asked for.

    Args:
        words: The verb and what follows it.
        names: The user's own names, for arguments that may be one.
        program: What the user typed before, for messages.

    Raises:
        Usage: The words are no command.
        IpvmError: What the verb raises.
    """
    verb = find(words[0] if words else "help")
    parsed = vars(verb.parser(program).parse_args(words[1:]))
    as_json = parsed.pop("json")
    for argument in verb.arguments:
        given = parsed.get(argument.key)
        if argument.thing and names and isinstance(given, str) and given in names:
            parsed[argument.key] = names[given]
    return verb.function(stream=as_json and verb.streams)(**parsed), as_json
