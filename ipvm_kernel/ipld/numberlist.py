"""A list of numbers that takes no more room than its numbers do."""

from __future__ import annotations

from array import array
from typing import Any, Final

_SHOWN: Final = 1000


class NumberList(array):  # type: ignore[type-arg]
    """Numbers side by side in memory, equal to the list of them and shown as one.

    It is an `array.array`, which numpy, Arrow and `memoryview` open where it lies; `tolist()` makes a list of it. In IPLD it
    is that list.

    >>> numbers = NumberList("d", [0.5, 1.0])
    >>> numbers, numbers == [0.5, 1.0], numbers + [2.0], memoryview(numbers).format
    ([0.5, 1.0], True, [0.5, 1.0, 2.0], 'd')
    """

    __slots__ = ()
    __hash__ = None  # as a list has none

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list):
            return len(self) == len(other) and self.tolist() == other
        return bool(super().__eq__(other)) if isinstance(other, array) else NotImplemented

    def __ne__(self, other: object) -> bool:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return NumberList(self.typecode, found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Any:
        return self.tolist() + other if isinstance(other, list) else NumberList(self.typecode, super().__add__(other))

    def __radd__(self, other: Any) -> Any:
        return other + self.tolist() if isinstance(other, list) else NotImplemented

    def __repr__(self) -> str:
        if len(self) <= _SHOWN:
            return repr(self.tolist())
        return f"{repr(self[:_SHOWN].tolist())[:-1]}, … {len(self) - _SHOWN:,} more]"
