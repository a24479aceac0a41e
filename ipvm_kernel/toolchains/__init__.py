"""Toolchains: from the source in a cell to a Wasm component."""
