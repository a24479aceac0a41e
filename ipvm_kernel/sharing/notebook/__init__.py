"""Notebooks as files that are shared and opened: read, cleaned, made safe for a reader, compared.

>>> from ipvm_kernel.sharing import notebook
>>> found = notebook.read(b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
>>> notebook.cleaned(found) == notebook.cleaned(notebook.read(notebook.opened(notebook.cleaned(found))))
True
"""

from __future__ import annotations

from ipvm_kernel.sharing.notebook.cells import (
    MOST_BYTES,
    Notebook,
    SharedCell,
    read,
)
from ipvm_kernel.sharing.notebook.changes import CellChange, compared
from ipvm_kernel.sharing.notebook.cleaning import cleaned, opened
from ipvm_kernel.sharing.notebook.forms import MOST_CELLS, MOST_OUTPUTS
from ipvm_kernel.sharing.notebook.leaking import leaks

__all__ = [
    "MOST_BYTES",
    "MOST_CELLS",
    "MOST_OUTPUTS",
    "CellChange",
    "Notebook",
    "SharedCell",
    "cleaned",
    "compared",
    "leaks",
    "opened",
    "read",
]
