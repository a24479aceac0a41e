"""Guests, for tests of what tasks need."""

from tests.guests import component

__all__ = ["component"]
