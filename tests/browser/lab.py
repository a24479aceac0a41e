"""JupyterLab in headless Chromium, as a person meets it: open, run, interrupt, save, close, open again.

The traps are handled here and in `server.py`, once. Lab drops a "run all" that comes before the kernel is there, so
everything waits for the words "| Idle" in its status bar. Whatever the page asks of another machine is recorded, and
not found.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlsplit

from playwright.sync_api import TimeoutError as TooLate

from tests.daemons import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

    from tests.browser.server import Server

FLAGS: Final = (  # of Chromium: no sandbox (tests run as root), and nothing that calls home
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}",  # a route of Playwright's would cost the cache
)


@dataclass
class Lab:
    """One tab with JupyterLab in it.

    Attributes:
        page: The Playwright page, for what is not here.
        outside: The addresses on other machines that the page asked for.
        errors: What the page wrote to its console as an error, and exceptions that nobody caught.
    """

    page: Page
    server: Server
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    _names = count()

    @classmethod
    @contextmanager
    def tab(cls, browser: Browser, server: Server, *, width: int = 1280, height: int = 1000) -> Iterator[Lab]:
        """Open a tab with a history of its own until the block ends."""
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        lab = cls(context.new_page(), server)
        context.on("request", lambda request: lab._note(request.url))
        lab.page.on("websocket", lambda socket: lab._note(socket.url))
        lab.page.on("console", lambda said: lab.errors.append(said.text) if said.type == "error" else None)
        lab.page.on("pageerror", lambda error: lab.errors.append(str(error)))
        lab.page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?"
        lab.page.set_default_timeout(60_000)
        try:
            yield lab
        finally:
            context.close()

    def _note(self, url: str) -> None:
        if not _local(url):
            self.outside.append(url)

    def open(self, name: str) -> None:
        """Open a notebook of the server's folder, and wait until its kernel is idle."""
        workspace = f"auto-{next(self._names)}"
        self.page.goto(f"http://{HERE}:{self.server.port}/lab/workspaces/{workspace}/tree/{quote(name)}?reset")
        self.idle()

    def idle(self, *, within: float = 60) -> None:
        """Wait until the status bar says that the kernel is idle, which the page says before it is so elsewhere."""
        bar = self.page.locator("#jp-main-statusbar")
        try:
            bar.get_by_text("| Idle").wait_for(timeout=within * 1000)
        except TooLate:
            dialogs = self.page.locator(".jp-Dialog").all_inner_texts()
            said = bar.inner_text() if bar.count() else "nothing: there is no status bar"
            raise AssertionError(
                f"not idle after {within} s; the status bar says {said!r}; dialogs: {dialogs}"
            ) from None

    def command(self, name: str, **options: object) -> None:
        """Start a command of Lab's, as its menus do."""
        self.page.evaluate(
            """([name, options]) => {
                 window.ended = null;
                 window.jupyterapp.commands.execute(name, options).then(
                   () => { window.ended = "well" }, error => { window.ended = String(error) });
               }""",
            [name, options],
        )

    def ended(self, *, within: float = 60) -> None:
        """Wait until the command that was started last has ended, and the kernel is idle."""
        self.page.wait_for_function("window.ended", timeout=within * 1000)
        how = self.page.evaluate("window.ended")
        assert how == "well", how
        self.idle(within=within)

    def run_all(self, *, within: float = 60) -> None:
        """Run all cells, and wait for the end."""
        self.command("notebook:run-all-cells")
        self.ended(within=within)

    def start_cell(self, index: int) -> None:
        """Run one cell, and do not wait: `ended()` does."""
        self.page.evaluate("index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index }", index)
        self.command("notebook:run-cell")

    def run_cell(self, index: int, *, within: float = 60) -> None:
        """Run one cell, and wait for its end."""
        self.start_cell(index)
        self.ended(within=within)

    def running(self, index: int) -> None:
        """Wait until a cell is at work, by the star in its prompt."""
        self.cell(index).locator(".jp-InputPrompt", has_text="[*]").wait_for()
        self.page.locator("#jp-main-statusbar").get_by_text("| Busy").wait_for()

    def interrupt(self) -> None:
        """Press the button with the square."""
        self.page.locator(".jp-NotebookPanel:visible [data-command='notebook:interrupt-kernel']").first.click()

    def restart(self) -> None:
        """Restart the kernel, say yes to the question, and wait for it."""
        self.command("notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.ended()

    def save(self) -> None:
        """Save the notebook."""
        self.command("docmanager:save")
        self.ended()

    def close(self) -> None:
        """Shut the kernel down and leave the page; what was not saved is lost."""
        self.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
        self.page.goto("about:blank")

    def theme(self, name: Literal["Light", "Dark"]) -> None:
        """Change the colours."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        self.page.locator(f"body[data-jp-theme-light='{str(name == 'Light').lower()}']").wait_for(state="attached")
        self.ended()

    def cell(self, index: int) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-Notebook .jp-Cell").nth(index)

    def outputs(self, index: int) -> Locator:
        """Return the outputs of a cell, without their prompts."""
        return self.cell(index).locator(".jp-OutputArea-output")

    def text(self, index: int) -> str:
        """Return what a person reads under a cell."""
        return "\n".join(self.outputs(index).all_inner_texts()).strip()

    def html(self, index: int) -> str:
        """Return the markup under a cell, as it is in the page."""
        return "\n".join(output.inner_html() for output in self.outputs(index).all())

    def screenshot(self, path: Path, *, cell: int | None = None) -> None:
        """Keep a picture of the window, or of one cell, as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if cell is None:
            self.page.screenshot(path=path, type="png", animations="disabled")
        else:
            self.cell(cell).screenshot(path=path, type="png", animations="disabled")


def _local(url: str) -> bool:
    """Return whether this address is of this machine, or of none: `data:` and `blob:`."""
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.hostname == HERE
