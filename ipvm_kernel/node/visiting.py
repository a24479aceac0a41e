"""A run on a node of somebody else's, watched from here: its answers come as those of a run of one's own.

What the node says is its word: that a receipt is what its CID says is checked, that it is right is not, and nothing of it is
put on file here.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ipvm_kernel.engine.answers import ENDED, Answer, Progress, Stopper
from ipvm_kernel.errors import BadInput, IpvmError, Malformed, Mismatch, NotAllowed, ToolchainMissing
from ipvm_kernel.ipld import CID, OWN, dagjson
from ipvm_kernel.model import Receipt
from ipvm_kernel.node.control import NodeSilent
from ipvm_kernel.node.grants import token_for
from ipvm_kernel.node.jsonrpc import DENIED
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.runs import TICK, Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from websockets.sync.client import ClientConnection

    from ipvm_kernel.model import Workflow
    from ipvm_kernel.node.grants import Grant
    from ipvm_kernel.runs import Source
    from ipvm_kernel.trust.keys import Key

_OPENS_WITHIN: Final = 20.0
_ANSWERS_WITHIN: Final = 60.0
_FRAME: Final = 64 * 2**20  # characters of a notification, of which each byte of a receipt takes up to four


def visit(
    url: str,
    workflow: Workflow,
    *,
    source: Source,
    name: str = "",
    key: Key | None = None,
    grant: Grant | None = None,
) -> Run:
    """Return a run on a node, not begun: iterate it, await it, or call `wait`, as any run.

    Args:
        url: Where the node is: `ws://127.0.0.1:1337`, with its token if it is one's own.
        workflow: What to run.
        source: The session, which knows what functions give.
        name: What to call it.
        key: Who asks; needed with a grant.
        grant: What lets them.

    Raises:
        NotAllowed: The grant is for somebody else.
        BadInput: It cannot be shown, or this is no address of a node.
    """
    _place(url)
    token = token_for(key, grant, workflow.cid) if key is not None and grant is not None else ""
    stopper, progress = Stopper(), Progress(len(workflow.tasks))
    told = _Visit(workflow, stopper, progress)

    def stream() -> Generator[Answer, None, None]:
        with _connected(url, token) as line:
            yield from told.stream(line, name)

    return Run(workflow, stream, stopper=stopper, progress=progress, source=source, name=name)


def _place(url: str) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        BadInput: It is none of a node.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or parts.scheme not in {"ws", "wss"} or not host or port == 0:
        shown = printable(url.partition("?")[0], limit=100)  # what follows may be a token
        raise BadInput(f"expected the address of a node, such as ws://127.0.0.1:1337, found {shown!r}")
    return host, port or (443 if parts.scheme == "wss" else 80)


@contextlib.contextmanager
def _connected(url: str, token: str) -> Generator[ClientConnection, None, None]:
    """Connect to a node, and let what goes wrong on the way be an error of ours."""
    try:
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect
    except ImportError:
        raise ToolchainMissing(
            'to speak with a node needs websockets, which is not installed: pip install "ipvm[node]"'
        ) from None
    where = printable(url.partition("?")[0], limit=100)  # what follows may be a token
    try:
        line = connect(
            url,
            sock=socket.create_connection(_place(url), _OPENS_WITHIN),  # so that no redirect is followed
            additional_headers={"Authorization": f"Bearer {token}"} if token else {},
            max_size=_FRAME,
            open_timeout=_OPENS_WITHIN,
        )
    except InvalidStatus as error:
        said = printable((error.response.body or b"").decode("utf-8", "replace").strip(), limit=400)
        status = error.response.status_code
        wrong = NotAllowed if status in {401, 403} else NodeSilent
        raise wrong(f"the node at {where} refused: {said or status}") from None
    except (OSError, InvalidHandshake, EOFError, ValueError) as error:
        raise NodeSilent(f"no node answers at {where}: {printable(str(error), limit=200)}") from None
    with line:
        try:
            yield line
        except (ConnectionClosed, OSError) as error:
            closed = getattr(error, "rcvd", None)
            told = f": {printable(closed.reason or str(closed.code), limit=200)}" if closed is not None else ""
            raise NodeSilent(f"the node at {where} closed{told}; what it did is on its file") from None


class _Visit:
    """One run, as the node tells of it."""

    def __init__(self, workflow: Workflow, stopper: Stopper, progress: Progress) -> None:
        self._workflow = workflow
        self._wanted = {task.run.cid for task in workflow.tasks}
        self._stopper = stopper
        self._progress = progress
        self._stopping = False

    def stream(self, line: ClientConnection, name: str) -> Generator[Answer, None, None]:
        """Ask for the run, and yield its answers."""
        asked = f'{{"events":true,"name":{json.dumps(name)},"workflow":{dagjson.dumps(self._workflow.to_ipld())}}}'
        line.send(f'{{"jsonrpc":"2.0","id":1,"method":"subscribe_run_workflow","params":[{asked}]}}')
        ident = _begun(line)
        try:
            while True:
                told = self._next(line, ident)
                if told is None:
                    continue
                event, cid = told.get("event"), told.get("instruction")
                if event in {"workflow_finished", "workflow_failed"}:
                    self._end(told)
                    return
                if type(cid) is not CID or cid not in self._wanted or self._progress.state(cid) in ENDED:
                    continue
                if event == "task_started":
                    self._progress.set(cid, "running")
                    continue
                answer = _answer(cid, told)
                self._progress.set(cid, answer.how)
                yield answer
        except BaseException:  # nobody waits for it any more
            with contextlib.suppress(Exception):
                self._cancel(line, ident)
            raise

    def _next(self, line: ClientConnection, ident: str) -> dict[str, Any] | None:
        """Return the next notification, or None if a moment passed without one."""
        if self._stopper.stopped and not self._stopping:
            self._cancel(line, ident)
        try:
            frame = _read(line.recv(timeout=TICK))
        except TimeoutError:
            return None
        params = frame.get("params")
        if type(params) is not dict or params.get("subscription") != ident:
            return None
        try:
            told = dagjson.loads(bytes(params["result"]), OWN)
        except (KeyError, TypeError, ValueError, BadInput):
            told = None
        if type(told) is not dict:
            raise Malformed("expected notifications of the node as it makes them, found another")
        return told

    def _cancel(self, line: ClientConnection, ident: str) -> None:
        self._stopping = True
        line.send(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "cancel_workflow", "params": [ident]}))

    def _end(self, told: dict[str, Any]) -> None:
        """Say what went wrong, if something did."""
        why = told.get("error")
        if type(why) is str:
            raise IpvmError(f"the node broke off: {printable(why, limit=300)}")
        lacking = sum(self._progress.state(cid) not in ENDED for cid in self._wanted)
        if lacking:
            raise IpvmError(
                f"the node did not tell what came of {plural(lacking, 'task')}: run it again, to replay them"
            )


def _begun(line: ClientConnection) -> str:
    """Return the id of the run that was asked for.

    Raises:
        NotAllowed: The node does not let whoever asked.
        IpvmError: It does not run it for another reason.
    """
    try:
        frame = _read(line.recv(timeout=_ANSWERS_WITHIN))
    except TimeoutError:
        raise NodeSilent(f"the node did not answer within {_ANSWERS_WITHIN:g} s") from None
    wrong = frame.get("error")
    if type(wrong) is dict:
        said = f"the node refused: {printable(str(wrong.get('message')), limit=400)}"
        raise NotAllowed(said) if wrong.get("code") == DENIED else IpvmError(said)
    ident = frame.get("result")
    if type(ident) is not str:
        raise Malformed("expected the id of a run from the node, found something else")
    return ident


def _read(frame: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(frame)
    except (ValueError, RecursionError):
        found = None
    if type(found) is not dict:
        raise Malformed("expected JSON-RPC from the node, found something else")
    return found


def _answer(cid: CID, told: dict[str, Any]) -> Answer:
    """Return what a notification says of a task.

    Raises:
        Malformed: It is no answer.
        Mismatch: Its receipt is not what its CID says.
    """
    how, took = told.get("how"), told.get("seconds")
    if how not in ENDED:
        raise Malformed(f"expected how {cid.short} ended from the node, found {printable(str(how), limit=40)!r}")
    receipt = None
    if told.get("receipt") is not None:
        receipt = Receipt.from_ipld(told["receipt"])
        if receipt.cid != told.get("receipt_cid"):
            raise Mismatch(f"expected the receipt of {cid.short} from the node, found another than its CID says")
    return Answer(cid, receipt, how, took if type(took) is float and took >= 0 else 0.0)
