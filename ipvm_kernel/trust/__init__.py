"""Whom to believe: who signs here, what others signed, and the user's rules for taking their word (RULES 11)."""

from ipvm_kernel.trust.attestation import Attestation, attest, read
from ipvm_kernel.trust.judging import Verdict
from ipvm_kernel.trust.keys import Key
from ipvm_kernel.trust.policy import Policy

__all__ = ["Attestation", "Key", "Policy", "Verdict", "attest", "read"]
