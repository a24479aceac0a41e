"""Conformance suites for authors of stores, operations and executors: inherit, say how to make yours, and run pytest.

    from ipvm_kernel.testing import StoreContract

    class TestMyStore(StoreContract):
        shared = durable = True

        def open(self, folder):
            return MyStore(folder)

The built-in ones pass the same suites. This package alone needs pytest.
"""

import pytest

pytest.register_assert_rewrite(
    "ipvm_kernel.testing.contents",
    "ipvm_kernel.testing.executors",
    "ipvm_kernel.testing.journals",
    "ipvm_kernel.testing.lineage",
    "ipvm_kernel.testing.ops",
    "ipvm_kernel.testing.parcels",
    "ipvm_kernel.testing.received",
    "ipvm_kernel.testing.stores",
)

from ipvm_kernel.testing.executors import ExecutorContract  # noqa: E402 - after the line that makes failures readable
from ipvm_kernel.testing.ops import OpContract  # noqa: E402
from ipvm_kernel.testing.samples import filing, task  # noqa: E402
from ipvm_kernel.testing.stores import StoreContract  # noqa: E402

__all__ = ["ExecutorContract", "OpContract", "StoreContract", "filing", "task"]
