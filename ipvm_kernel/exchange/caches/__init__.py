"""A lab's caches: who is asked for receipts, by the CIDs of instructions, before anything runs.

Whoever is asked learns which tasks interest you, and nothing else: no argument, no module and no result leaves by asking.
What comes is checked against its CIDs here. Whether a receipt that a cache gave may be used is for the reader's own trust
policy to say, by the statements that came with it; a cache that lies costs time, and never an answer.

This module is light. What asks is loaded when a cache is there to be asked.
"""

from __future__ import annotations

from ipvm_kernel.exchange.caches.base import Answered, Answers, Cache
from ipvm_kernel.exchange.caches.listed import Known, Listed

__all__ = ["Answered", "Answers", "Cache", "Known", "Listed"]
