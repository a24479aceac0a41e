"""Notebooks to be shared: cells, outputs, and pictures that are what they say."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

from ipvm_kernel.ipld import CID
from ipvm_kernel.picture import html, text
from tests.picture.samples import one_of_each

INSTRUCTION, OTHER, RECEIPT, WORKFLOW = (CID.of(name) for name in (b"\xa1", b"\xa2", b"\xa3", b"\xa4"))


def png(width: int = 40, height: int = 20, *, claimed: tuple[int, int] | None = None) -> str:
    """Return a PNG in base64, of a colour that is seen on white and on black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x40\x80\xc0" * width) * height
    head = struct.pack(">IIBBBBB", *(claimed or (width, height)), 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


def svg(inside: str, *, before: str = "") -> str:
    """Return an SVG."""
    return f'{before}<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40">{inside}</svg>'


def as_image(drawn: str) -> str:
    """Return HTML with an SVG as the source of an image."""
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}">'


def about(*pairs: tuple[object, object], **more: Any) -> dict[str, Any]:
    """Return the metadata of an output that names receipts."""
    named = {str(ran): str(receipt) for ran, receipt in pairs or ((INSTRUCTION, RECEIPT),)}
    return {"ipvm": {"cell": "made", "workflows": [str(WORKFLOW)], "receipts": named, **more}}


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None, *, count: int | None = None) -> dict[str, Any]:
    """Return an output that was displayed, or with a count the result of a cell."""
    kind = (
        {"output_type": "display_data"}
        if count is None
        else {"output_type": "execute_result", "execution_count": count}
    )
    return {**kind, "data": data, "metadata": metadata or {}}


def printed(said: str, name: str = "stdout") -> dict[str, Any]:
    """Return what a cell printed."""
    return {"output_type": "stream", "name": name, "text": said}


def run() -> dict[str, Any]:
    """Return the output of a run."""
    return shown({"text/plain": text.run(one_of_each()), "text/html": html.run(one_of_each())}, about())


def code(source: str, *outputs: dict[str, Any], ident: str = "made", **more: Any) -> dict[str, Any]:
    """Return a code cell."""
    return {
        "cell_type": "code",
        "id": ident,
        "metadata": {},
        "source": source,
        "outputs": list(outputs),
        "execution_count": 1 if outputs else None,
        **more,
    }


def prose(source: str, *, ident: str = "said", **more: Any) -> dict[str, Any]:
    """Return a Markdown cell."""
    return {"cell_type": "markdown", "id": ident, "metadata": {}, "source": source, **more}


def notebook(*cells: dict[str, Any], metadata: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Return a notebook."""
    raw = {"cells": list(cells), "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5, **more}
    return json.dumps(raw).encode()


def good() -> bytes:
    """Return a notebook that a scientist could have made."""
    return notebook(
        prose("# A study\n\nSee $x^2$ and ![figure](attachment:f.png).", attachments={"f.png": {"image/png": png()}}),
        code("%load_ext ipvm\nimport ipvm", ident="load"),
        code("%%ipvm\nf(1)", run(), ident="run"),
        code("print(3)", printed("three\n"), shown({"text/plain": "3"}, count=3), ident="python"),
        code("plot()", shown({"text/plain": "<Figure>", "image/png": png() + "\n"}), ident="picture"),
        code(
            "1/0",
            {
                "output_type": "error",
                "ename": "ZeroDivisionError",
                "evalue": "division by zero",
                "traceback": ["\x1b[31mZeroDivisionError\x1b[39m: division by zero"],
            },
            ident="wrong",
        ),
        metadata={"kernelspec": {"name": "ipvm", "display_name": "IPVM (Python)", "language": "python"}},
    )
