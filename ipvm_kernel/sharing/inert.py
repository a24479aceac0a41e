"""Files that may lie beside an opened notebook: those that nothing reads as a program or as settings of one.

A kernel is started in the folder of its notebook, and that folder comes first where Python looks for modules. Jupyter and
IPython read settings there, Python's metadata of packages names what is loaded, tools that start Jupyter read settings of
projects, and a shell of Windows looks there for commands. So a file of such a name would run because it lies there,
without anybody having opened it.
"""

from __future__ import annotations

from typing import Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld.placing import safe_name

_PYTHON: Final = (".py", ".pyw", ".pyc", ".pyo", ".pyd", ".so", ".dylib", ".dll", ".pth", "._pth", ".ipy")
_PACKAGES: Final = (".dist-info", ".egg-info", ".egg", ".egg-link")
_COMMANDS: Final = (
    ".com", ".exe", ".bat", ".cmd", ".vbs", ".vbe", ".js", ".jse", ".wsf", ".wsh", ".msc", ".ps1", ".cpl", ".scr",
    ".lnk", ".url", ".desktop",
)  # fmt: skip
_SETTINGS: Final = ("_config.json", "_config.d")
_SETTINGS_NAMES: Final = frozenset(
    {
        "conftest", "sitecustomize", "usercustomize",  # whatever follows the dot
        "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", "uv.toml", "pixi.toml", "poetry.toml", "pipfile", "pyvenv.cfg",
        "kernel.json", "overrides.json", "custom.css", "desktop.ini", "autorun.inf",
    }
)  # fmt: skip


def unwritable(path: str) -> str:
    """Return why a file that came along is not written beside an opened notebook, in a few words, or "" if it is.

    Args:
        path: Its relative path, the names parted by "/".
    """
    names = path.split("/")
    try:
        for name in names:
            safe_name(name)
    except IpvmError as error:
        return error.message.removesuffix(".")
    for name in names:
        why = _read_as(name.casefold())
        if why:
            return why
    return ""


def _read_as(name: str) -> str:
    """Return what a name, of a file or of a folder, would be read as, or ""."""
    if name.endswith(_PYTHON):
        return "a kernel started there would run it"
    if name.endswith(_PACKAGES):
        return "a kernel started there would take it for an installed package"
    if name.endswith(".ipynb"):
        return "it is another notebook, which was not checked as this one was"
    if name.endswith(_COMMANDS):
        return "a program started there could run it"
    if name.endswith(_SETTINGS) or name in _SETTINGS_NAMES or name.partition(".")[0] in _SETTINGS_NAMES:
        return "a program started there would take it for its settings"
    return ""
