from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed
from ipvm_kernel.ipld import CID
from ipvm_kernel.trust.predicates import understood, unmet
from ipvm_kernel.trust.selectors import NotThere, parsed, select
from tests.ipld.values import same, values

LINK = CID("bafyrmicfpks6ihdt7szlfjlx65eqbt3jvtieqo64mjlgyf3pcu3uz7fzue")
MAIL: dict[str, Any] = {
    "from": "alice@example.com",
    "to": ["bob@example.com", "carol@not.example.com", "dan@example.com"],
    "cc": ["fraud@example.com"],
    "title": "Meeting Confirmation",
    "a.b": {'"': 1, "é": 2},
    "bytes": bytes.fromhex("d6a9c18cf8c4"),
    "link": LINK,
    "deep": {"one": {"two": [[1, 2], [3]]}},
    "none": None,
}


def holds(policy: list[Any], args: Any) -> bool:
    return unmet(understood(policy), args) is None


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        (".", MAIL),
        (".title", "Meeting Confirmation"),
        (".cc", ["fraud@example.com"]),
        (".to[1]", "carol@not.example.com"),
        (".to[-1]", "dan@example.com"),
        (".to.[0]", "bob@example.com"),
        (".to[99]?", None),
        (".to[99]???", None),
        (".to[0:2]", ["bob@example.com", "carol@not.example.com"]),
        (".to[1:]", ["carol@not.example.com", "dan@example.com"]),
        (".to[:1]", ["bob@example.com"]),
        (".to[0:-2]", ["bob@example.com"]),
        (".to[7:11]", []),
        (".to[]", MAIL["to"]),
        ('.["a.b"]["\\""]', 1),
        ('.["a.b"]["\\u00e9"]', 2),
        ('.["a.b"][]', [1, 2]),
        (".bytes[3]", 140),
        (".bytes[-1:]", b"\xc4"),
        (".missing", None),
        (".missing?", None),
        (".missing.more?", None),
        (".title.more?", None),
        (".deep.one.two[0][1]", 2),
        (".deep[].two", NotThere),
        (".deep[][0].two[]", [[1, 2], [3]]),
        (".missing.more", NotThere),
        (".none.more", NotThere),
        (".to[99]", NotThere),
        (".to[-4]", NotThere),
        (".to.name", NotThere),
        (".from[0]", NotThere),
        (".from[0:1]", NotThere),
        (".from[]", NotThere),
        (".link[0]", NotThere),
        (".to[99].more?", NotThere),
    ],
)
def test_what_a_selector_leads_to(selector: str, value: Any) -> None:
    """
    A selector leads to what the specification says, or nowhere.
    """
    if value is NotThere:
        with pytest.raises(NotThere):
            select(MAIL, parsed(selector), lambda _: None)
    else:
        assert select(MAIL, parsed(selector), lambda _: None) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "[0]",
        "..",
        "...",
        ".a..b",
        ".a.",
        ".?",
        ".a b",
        ".a|.b",
        ".1",
        ".[",
        ".[a]",
        ".['a']",
        '.["a]',
        '.["\\x"]',
        ".[1.5]",
        ".[0:1:2]",
        ".[12345678901]",
        ".a-b",
        ".a\n",
        "." + "a" * 2000,
        "." + "[0]" * 500,
        None,
        [],
    ],
)
def test_what_is_no_selector(text: Any) -> None:
    """
    What the small part of jq does not have is refused, and never guessed.
    """
    with pytest.raises(BadInput, match=r"selector|key in quotes"):
        parsed(text)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ([], True),
        ([["==", ".title", "Meeting Confirmation"]], True),
        ([["==", ".", MAIL]], True),
        ([["==", ".bytes", MAIL["bytes"]]], True),
        ([["==", ".bytes", "d6a9c18cf8c4"]], False),
        ([["==", ".link", LINK]], True),
        ([["==", ".link", str(LINK)]], False),
        ([["==", ".missing", None]], True),
        ([["==", ".missing.more", None]], False),
        ([["!=", ".missing.more", None]], False),
        ([["not", ["==", ".missing.more", None]]], True),
        ([["==", ".deep.one.two", [[1.0, 2], [3.0]]]], True),
        ([["==", ".deep.one.two", [[True, 2], [3]]]], False),
        ([["==", ".deep.one.two", [[1, 2], [3], []]]], False),
        ([["==", ".deep.one", {"two": [[1, 2], [3]], "x": 1}]], False),
        ([["!=", ".title", "x"]], True),
        ([["<", ".deep.one.two[0][0]", 1.5]], True),
        ([[">", ".deep.one.two[0][0]", 1]], False),
        ([[">=", ".deep.one.two[0][0]", 1.0]], True),
        ([["<=", ".title", 1]], False),
        ([["<", ".none", 1]], False),
        ([["like", ".from", "*@example.com"]], True),
        ([["like", ".from", "alice*"]], True),
        ([["like", ".from", "*"]], True),
        ([["like", ".from", "alice"]], False),
        ([["like", ".to", "*"]], False),
        ([["like", ".none", "*"]], False),
        ([["and", []]], True),
        ([["or", []]], True),
        ([["or", [["==", ".from", ""], ["==", ".none", None]]]], True),
        ([["and", [["==", ".from", ""], ["==", ".none", None]]]], False),
        ([["all", ".to", ["like", ".", "*@*"]]], True),
        ([["all", ".to", ["like", ".", "*@example.com"]]], False),
        ([["any", ".to", ["like", ".", "*@example.com"]]], True),
        ([["any", ".deep", ["==", ".two[1]", [3]]]], True),
        ([["all", ".from", ["==", ".", "a"]]], False),
        ([["any", ".bytes", ["==", ".", 140]]], False),
        ([["all", ".to[7:]", ["==", ".", "nobody"]]], True),
        ([["==", ".from", "alice@example.com"], ["==", ".from", "bob@example.com"]], False),
    ],
    ids=str,
)
def test_what_a_policy_says(policy: list[Any], expected: bool) -> None:
    """
    A policy holds of some arguments exactly where each of its statements does.
    """
    assert holds(policy, MAIL) == expected


KINDS: list[Any] = [True, False, 1, 0, 1.0, 0.0, None, "", b"", [], {}, "1", b"1", LINK]


@pytest.mark.parametrize("value", KINDS, ids=repr)
def test_kinds_are_kept_apart(value: Any) -> None:
    """
    Numbers are equal as numbers; true is no 1, bytes are no text, and nothing is null but null.
    """
    equal = [other for other in KINDS if holds([["==", ".x", other]], {"x": value})]

    if type(value) in {int, float}:
        assert equal == [other for other in KINDS if type(other) in {int, float} and other == value]
    else:
        assert equal == [other for other in KINDS if type(other) is type(value) and other == value]


@given(one=values, two=values)
def test_equality_is_that_of_ipld(one: Any, two: Any) -> None:
    """
    Any value equals itself and none that differs, at any depth.
    """
    assert holds([["==", ".x", one]], {"x": one})
    if not same(one, two) and not isinstance(one, float | int | list | dict):
        assert not holds([["==", ".x", two]], {"x": one})
        assert holds([["!=", ".x", two]], {"x": one})


@given(
    pattern=st.lists(st.sampled_from(["*", "\\*", "\\", "a", "b", "ab", "."]), max_size=8).map("".join),
    text=st.text("ab*\\.", max_size=10),
)
def test_wildcards(pattern: str, text: str) -> None:
    """
    A pattern matches what the regular expression that it stands for matches.
    """
    parts = re.split(r"(\\\*|\*)", pattern)
    expression = "".join({"*": ".*", "\\*": "\\*"}.get(part, re.escape(part)) for part in parts)

    assert holds([["like", ".", pattern]], text) == bool(re.fullmatch(expression, text, re.DOTALL))


@pytest.mark.parametrize(
    "policy",
    [
        None,
        {},
        "",
        [[]],
        ["=="],
        [["==", ".a"]],
        [["==", ".a", 1, 2]],
        [["=", ".a", 1]],
        [["==", "a", 1]],
        [["<", ".a", "1"]],
        [["<", ".a", True]],
        [["like", ".a", 1]],
        [["like", ".a", None]],
        [["and", ["==", ".a", 1]]],
        [["and", [["==", ".a", 1]], []]],
        [["not", []]],
        [["not", [["==", ".a", 1]]]],
        [["all", ".a", [["==", ".", 1]]]],
        [["every", ".a", ["==", ".", 1]]],
        [["\x1b[31m", ".a", 1]],
        [1],
    ],
    ids=str,
)
def test_what_is_no_policy(policy: Any) -> None:
    """
    A policy of which a part is not understood is refused whole: what a statement forbids is not let through.
    """
    with pytest.raises(Malformed, match="Expected") as raised:
        understood(policy)

    assert "\x1b" not in raised.value.message


def test_a_policy_is_bounded() -> None:
    """
    A policy that is long, deep, or takes long to check is refused, not worked through.
    """
    deep: Any = ["==", ".", 1]
    for _ in range(20):
        deep = ["not", deep]
    long = [["==", ".", 1]] * 1001
    slow = [["all", ".", ["!=", ".", [n]]] for n in range(450)]

    with pytest.raises(LimitExceeded, match="16 deep"):
        understood([deep])
    with pytest.raises(LimitExceeded, match="1,000 statements"):
        understood(long)
    with pytest.raises(LimitExceeded, match="100,000 steps"):
        unmet(understood(slow), [[0, n] for n in range(5000)])
