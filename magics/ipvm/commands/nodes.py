"""The node: started, stopped and asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipvm.views import View, table
from ipvm_kernel.errors import NotFound, ToolchainMissing
from ipvm_kernel.node import control
from ipvm_kernel.printable import printable, seconds
from ipvm_kernel.session import default, home_folder

if TYPE_CHECKING:
    from ipvm_kernel import Run, Workflow
    from ipvm_kernel.node.place import Word

_ACTIONS: Final = ("start", "stop", "ping", "info")


def node(
    action: str,
    *,
    port: int | None = None,
    settings: str | None = None,
    without_token: bool = False,
    foreground: bool = False,
) -> View:
    """Start, stop, ping or ask the node that serves Homestar's JSON-RPC from this store, on loopback.

    Args:
        action: "start", "stop", "ping" or "info".
        port: With start: the first port that is tried (1337); 0 takes any.
        settings: With start: a TOML file.
        without_token: With start: serve clients of this machine that know no token, Homestar's own for one.
        foreground: With start: serve here, until stopped.
    """
    if action not in _ACTIONS:
        raise NotFound(f"ipvm node knows {', '.join(_ACTIONS)}, found {printable(action, limit=40)!r}")
    home = home_folder()
    if action == "start":
        _check_installed()
        if foreground:
            from ipvm_kernel.node.__main__ import run

            return View("the node stopped", failed=bool(run(settings, port=port, open_=without_token)))
        options = [
            *(("--port", str(port)) if port is not None else ()),
            *(("--settings", settings) if settings else ()),
        ]
        there = control.start(home, [*options, *(("--open",) if without_token else ())])
        token = "asks for no token" if there.open else f"token in {home / 'node' / 'token'}"
        return View(f"node started: {_at(there)}; {token}", data=[_data(there)])
    if action == "stop":
        there = control.stop(home)
        return View(f"node stopped: {_at(there)}", data=[_data(there)])
    if action == "ping":
        there, took = control.ping(home)
        return View(f"pong from {_at(there)} in {seconds(took)}", data=[{**_data(there), "seconds": took}])
    return _info(control.ask(home, "node"))


def run_on(url: str, workflow: Workflow, *, name: str = "", grant: str | None = None) -> Run:
    """Return a run of a workflow on a node of somebody's, not begun.

    Args:
        url: Where the node is.
        workflow: What to run.
        name: What to call it.
        grant: What the node's owner gave, or the file that it is in.
    """
    from ipvm_kernel.node import grants, visiting
    from ipvm_kernel.session import shares

    given = None if grant is None else grants.find_grant(grant)
    key = None if given is None else shares.identity(default(), create=True)
    if given is not None and key is None:
        raise NotFound("this session has no key to ask with: set IPVM_HOME to a folder that can be written")
    return visiting.visit(url, workflow, source=default(), name=name, key=key, grant=given)


def _at(there: Word) -> str:
    return f"ws://{there.host}:{there.port} (process {there.pid})"


def _data(there: Word) -> dict[str, Any]:
    return {
        "host": there.host,
        "port": there.port,
        "pid": there.pid,
        "version": there.version,
        "started": there.started,
    }


def _info(told: dict[str, Any]) -> View:
    own = told["ipvm"]
    tasks = ", ".join(f"{count:,} {state}" for state, count in own["tasks"].items()) or "none"
    lines = [
        f"ipvm {own['version']} on {', '.join(own['addresses'])}, for {seconds(own['seconds'])}; store {own['store']}",
        f"{own['clients']} clients, {own['running']} workflows running, {own['workflows']:,} over"
        + (f" ({own['broken']:,} broken by the host)" if own["broken"] else ""),
        f"tasks: {tasks}",
        f"{own['notifications']:,} notifications" + (f", {own['dropped']:,} dropped" if own["dropped"] else ""),
    ]
    if own["refused"]:
        rows = [
            [reason, f"{count:,}", printable(own["last_refused"].get(reason, ""), limit=120)]
            for reason, count in own["refused"].items()
        ]
        lines.append(table(rows, ["refused", "count", "the last"]))
    return View("\n".join(lines), data=[told])


def _check_installed() -> None:
    """Raise unless the extra `node` is installed."""
    try:
        import prometheus_client  # noqa: F401 - as below
        import starlette  # noqa: F401 - whether it is there
        import uvicorn  # noqa: F401 - as above
    except ImportError as error:
        raise ToolchainMissing(f'a node needs {error.name}, which is not installed: pip install "ipvm[node]"') from None
