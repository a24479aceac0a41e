"""What a node measures: gauges of machine and process as Homestar names them, and counts of its own.

Source: Homestar 0.3.0, `homestar-runtime/src/metrics/`; its names begin with `homestar_`, so that dashboards made for it
show a node of ours. What it does not count begins with `ipvm_`.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import psutil
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.node.counts import Counts

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of a node.

    Args:
        counts: What it counted.
        folder: Where its store is.
        running: How many workflows and clients there are now, by name.
        size: Bytes of its store.
    """

    def __init__(
        self, counts: Counts, folder: Path, running: Callable[[], dict[str, int]], size: Callable[[], int]
    ) -> None:
        self._counts = counts
        self._folder = folder
        self._running = running
        self._size = size
        self._process = psutil.Process(os.getpid())

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, measured now."""
        yield from self.gauges()
        counts = self._counts
        for name, about, value in (
            ("ipvm_requests", "Requests answered", counts.requests),
            ("ipvm_workflows", "Workflows that are over", counts.workflows),
            ("ipvm_workflows_broken", "Workflows ended by an error of the host", counts.broken),
            ("ipvm_notifications", "Notifications queued for clients", counts.notified),
            ("ipvm_notifications_dropped", "Notifications that a slow client did not get", counts.dropped),
        ):
            yield CounterMetricFamily(name, about, value)
        yield _labelled("ipvm_tasks", "Tasks of clients by how they ended", "state", counts.tasks.items())
        yield _labelled("ipvm_refused", "Requests refused, by reason", "reason", counts.refused.items())

    def gauges(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        memory, swap, process = psutil.virtual_memory(), psutil.swap_memory(), self._process
        disk = shutil.disk_usage(self._folder if self._folder.exists() else os.sep)
        network = psutil.net_io_counters()
        with process.oneshot():
            used, cpu, began = process.memory_info(), process.cpu_percent(), process.create_time()
            try:
                moved = process.io_counters()
                read, written = moved.read_bytes, moved.write_bytes
            except (AttributeError, psutil.Error):  # macOS has none
                read = written = 0
        now = time.time()
        for name, about, value in (
            ("system_available_memory_bytes", "The amount of available memory in bytes.", memory.available),
            ("system_used_memory_bytes", "The amount of used memory in bytes.", memory.used),
            ("system_free_swap_bytes", "The amount of free swap space in bytes.", swap.free),
            ("system_used_swap_bytes", "The amount of used swap space in bytes.", swap.used),
            ("system_disk_available_space_bytes", "The total amount of available disk space in bytes.", disk.free),
            ("system_uptime_seconds", "The total system uptime in seconds.", now - psutil.boot_time()),
            ("system_load_average_percentage", "The load average over a five minute interval.", os.getloadavg()[1]),
            ("process_cpu_usage_percentage", "The CPU usage of this process in percent.", cpu),
            ("process_virtual_memory_bytes", "The virtual memory size in bytes.", used.vms),
            ("process_memory_bytes", "Memory size in bytes.", used.rss),
            ("process_disk_total_written_bytes", "Total bytes written to disk.", written),
            ("process_disk_written_bytes", "Bytes written to disk.", written),
            ("process_disk_total_read_bytes", "Total bytes read from disk.", read),
            ("process_disk_read_bytes", "Bytes read from disk.", read),
            ("process_uptime_seconds", "How much time the process has been running in seconds.", now - began),
            (
                "network_transmitted_bytes",
                "The bytes transmitted by this machine.",
                network.bytes_sent if network else 0,
            ),
            ("network_received_bytes", "The bytes received by this machine.", network.bytes_recv if network else 0),
            ("database_size_bytes", "The size of the store in bytes.", self._size()),
        ):
            yield GaugeMetricFamily(f"homestar_{name}", about, value)
        for name, count in self._running().items():
            yield GaugeMetricFamily(f"ipvm_{name}", f"How many {name} there are now.", count)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def json(self) -> dict[str, Any]:
        """Return the gauges in the form of Homestar's `metrics` method: values are text, and counters are not in it."""
        return {
            "metrics": [
                {
                    "metric_type": "gauge",
                    "metric_name": family.name,
                    "help": family.documentation,
                    "data": [{"type": "value", "labels": None, "value": str(s.value)} for s in family.samples],
                }
                for family in self.gauges()
            ]
        }


def _labelled(name: str, about: str, label: str, items: Iterable[tuple[str, int]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=[label])
    for value, count in list(items):
        family.add_metric([value], count)
    return family
