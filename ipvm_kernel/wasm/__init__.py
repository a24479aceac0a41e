"""Wasm: what modules offer, how values go in and out, and one call in its sandbox. Nothing else knows the engine."""
