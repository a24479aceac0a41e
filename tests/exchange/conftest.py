"""Guests, for tests of what tasks need; and members of a network, for tests of peers."""

from tests.exchange.members import pair, swept
from tests.guests import component

__all__ = ["component", "pair", "swept"]
