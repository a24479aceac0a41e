"""Predicates: what a delegation asks of the arguments of a command, in UCAN's policy language.

A policy is a list of statements, all of which must hold (https://github.com/ucan-wg/delegation, section "Policy"):

    [["==", ".op", "wasm/run"], ["like", ".rsc", "ipfs://*"], ["not", ["<", ".fuel", 0]]]

A policy is read once, and refused if any part of it is not understood. What it may cost to check is bounded: both it and
the arguments come from others.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ipvm_kernel.errors import LimitExceeded, Malformed
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.selectors import NotThere, Selector, parsed, select

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH: Final = 16
"""Statements inside each other, at most."""

STATEMENTS: Final = 1000
"""Statements of a policy, at most, those inside others included."""

STEPS: Final = 100_000
"""What it may cost to hold some arguments against a policy: values that are looked at, roughly."""

_ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Statement(NamedTuple):
    """One statement.

    Attributes:
        op: What is asked, in UCAN's words.
        selector: Of what; nothing for "and", "or" and "not".
        of: What it is compared with: a value, the literals of a pattern between its wildcards, or statements.
    """

    op: str
    selector: Selector
    of: Any


Predicates: TypeAlias = tuple[Statement, ...]


def understood(policy: object) -> Predicates:
    """Return a policy that can be checked.

    Raises:
        Malformed: Some part of it is not understood.
        LimitExceeded: It is too long or too deep.
    """
    if type(policy) is not list:
        raise Malformed(f"Expected a policy, a list of statements, found {type(policy).__name__}.")
    return _all(policy, DEPTH, [STATEMENTS])


def _all(statements: object, depth: int, left: list[int]) -> Predicates:
    if type(statements) is not list:
        raise Malformed(f"Expected a list of statements in a policy, found {type(statements).__name__}.")
    return tuple([_statement(statement, depth, left) for statement in statements])


def _statement(statement: Any, depth: int, left: list[int]) -> Statement:
    if not depth:
        raise LimitExceeded(f"Expected a policy of statements at most {DEPTH} deep, found a deeper one.")
    left[0] -= 1
    if left[0] < 0:
        raise LimitExceeded(f"Expected a policy of at most {STATEMENTS:,} statements, found more.")
    match statement:
        case ["==" | "!=" as op, selector, value]:
            return Statement(op, parsed(selector), value)
        case ["<" | "<=" | ">" | ">=" as op, selector, int() | float() as number] if type(number) is not bool:
            return Statement(op, parsed(selector), number)
        case ["like", selector, str() as pattern]:
            return Statement("like", parsed(selector), _literals(pattern))
        case ["and" | "or" as op, inner]:
            return Statement(op, (), _all(inner, depth - 1, left))
        case ["not", inner]:
            return Statement("not", (), _statement(inner, depth - 1, left))
        case ["all" | "any" as op, selector, inner]:
            return Statement(op, parsed(selector), _statement(inner, depth - 1, left))
        case [str() as op, *rest]:
            raise Malformed(
                f"Expected a statement of a policy, found {printable(op, limit=40)!r} with {len(rest)} operands, "
                "which is none that is understood here."
            )
        case _:
            raise Malformed(f"Expected a statement of a policy, found {type(statement).__name__}.")


def _literals(pattern: str) -> tuple[str, ...]:
    r"""Return the parts of a pattern between its wildcards: "a*b" is ("a", "b"), and "a\*b" one part with a star."""
    parts = [""]
    rest = pattern
    while rest:
        before, star, rest = rest.partition("*")
        if not star:
            parts[-1] += before
        elif before.endswith("\\"):
            parts[-1] += before[:-1] + "*"
        else:
            parts[-1] += before
            parts.append("")
    return tuple(parts)


def unmet(predicates: Predicates, value: Any) -> Statement | None:
    """Return the first statement of a policy that does not hold of some arguments, or None if all hold.

    Raises:
        LimitExceeded: It takes more than 100,000 steps to find out.
    """
    left = STEPS

    def spend(steps: int) -> None:
        nonlocal left
        left -= steps
        if left < 0:
            raise LimitExceeded(f"Expected a policy that is checked in {STEPS:,} steps, found one that takes more.")

    return next((statement for statement in predicates if not _holds(statement, value, spend)), None)


def _holds(statement: Statement, value: Any, spend: Callable[[int], None]) -> bool:
    """Return whether a statement holds of a value. What cannot be selected or compared makes it false, and no error."""
    spend(1)
    op, selector, of = statement
    if op == "and":
        return all(_holds(inner, value, spend) for inner in of)
    if op == "or":
        return not of or any(_holds(inner, value, spend) for inner in of)
    if op == "not":
        return not _holds(of, value, spend)
    try:
        found = select(value, selector, spend)
    except NotThere:
        return False
    match op:
        case "==":
            return _equal(found, of, spend)
        case "!=":
            return not _equal(found, of, spend)
        case "like":
            return type(found) is str and _like(found, of, spend)
        case "all" | "any":
            if type(found) is dict:
                found = list(found.values())
            if type(found) is not list:
                return False
            spend(len(found))
            return (all if op == "all" else any)(_holds(of, item, spend) for item in found)
        case _:
            return type(found) in {int, float} and _ORDERED[op](found, of)


def _equal(one: Any, two: Any, spend: Callable[[int], None]) -> bool:
    """Return whether two IPLD values are equal all through: 1 is 1.0 here, and neither is true."""
    pending = [(one, two)]
    while pending:
        one, two = pending.pop()
        kind = type(one)
        if kind in {int, float}:
            same = type(two) in {int, float} and one == two
        elif kind is not type(two):
            same = False
        elif kind is list:
            same = len(one) == len(two)
            spend(len(one))
            if same:
                pending += zip(one, two, strict=True)
        elif kind is dict:
            same = one.keys() == two.keys()
            spend(len(one))
            if same:
                pending += [(item, two[key]) for key, item in one.items()]
        else:
            same = one == two
        if not same:
            return False
    return True


def _like(text: str, literals: tuple[str, ...], spend: Callable[[int], None]) -> bool:
    """Return whether a text is these literals with anything between them. Each is taken where it comes first."""
    spend(len(text) // 64 + len(literals))
    first, *between = literals
    if not between:
        return text == first
    last = between.pop()
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for literal in between:
        at = text.find(literal, at, end)
        if at < 0:
            return False
        at += len(literal)
    return True
