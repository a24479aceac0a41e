"""Whom to believe: what was made here, and the peers that the user named (RULES 11)."""

from ipvm_kernel.trust.policy import Policy

__all__ = ["Policy"]
