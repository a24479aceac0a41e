"""One page of HTML that holds all it shows: no script, nothing fetched, readable offline and for ever."""

from __future__ import annotations

from typing import Final

from ipvm_kernel.picture.widths import clipped, escaped

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:14px/1.5 system-ui,sans-serif;margin:24px auto;max-width:1020px;padding:0 16px;overflow-wrap:break-word}"
)
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, *parts: str) -> str:
    """Return a page of parts that are HTML already. Its policy lets nothing be fetched and nothing run."""
    said = escaped(clipped(title, 200))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{said}</title><style>{_STYLE}</style></head><body><h1 style="font-size:18px">{said}</h1>'
        f"{''.join(parts)}</body></html>\n"
    )
