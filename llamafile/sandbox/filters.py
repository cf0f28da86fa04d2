"""Turns the policy into a filter: the classic BPF program that the kernel runs before every system call."""

from __future__ import annotations

import struct

from llamafile.sandbox import policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_INSTRUCTION = struct.Struct("<HBBI")  # code, jump if true, jump if false, constant
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # word of seccomp_data, A &= k, A == k, A >= k
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; an argument is two words, low one first

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM, ENOSYS = 1, 38
_DENY = ERRNO | EPERM
_GROUP = 200  # a jump spans 255 instructions at most


def program(mode: str, machine: str, process: int) -> bytes:
    """Return the filter of a mode ("server", "cli", "chat", "combined", "broker") for a process id: 8 bytes a step.

    `machine` is "x86_64" or "aarch64"; KeyError for others. Whatever no row of the policy allows is EPERM."""
    letters, arm = set(policy.MODES[mode]), {"x86_64": False, "aarch64": True}[machine]
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, policy.ARCHITECTURES[machine]), (_RETURN, 0, 0, _DENY),
             (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, policy.X32), (_RETURN, 0, 0, _DENY)]
    calls = [row[2] if arm else row[1] for row in policy.PLAIN if letters & set(row[3])]
    plain = [number for number in calls if number is not None]
    for first in range(0, len(plain), _GROUP):
        steps += _any_of(plain[first : first + _GROUP], ALLOW)
    steps += _any_of([row[2] if arm else row[1] for row in policy.UNKNOWN], ERRNO | ENOSYS)
    for _, *numbers, modes, tests in policy.CHECKED:
        if letters & set(modes) and numbers[arm] not in plain:
            steps += _checked(numbers[arm], tests, process)
    steps.append((_RETURN, 0, 0, _DENY))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def _any_of(numbers: list[int], result: int) -> list[tuple[int, int, int, int]]:
    """Return the result if A is one of the numbers, else go on behind."""
    last = len(numbers) - 1
    found = [(_EQUAL, last - i, 0 if i < last else 1, number) for i, number in enumerate(numbers)]
    return [*found, (_RETURN, 0, 0, result)]


def _checked(number: int, tests: Iterable[tuple], process: int) -> list[tuple[int, int, int, int]]:
    """Allow the call if all tests hold; otherwise A is the number again, for another row of the same call."""
    body: list[tuple[int, int, int, int]] = []
    for test in reversed(list(tests)):
        body = [*_test(test, process, len(body) + 1), *body] if body else _test(test, process, 1)
    # Behind the tests: success returns at once, failure lands on the reload of the number.
    block = [*body, (_RETURN, 0, 0, ALLOW), (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(block), number), *block]


def _test(test: tuple, process: int, behind: int) -> list[tuple[int, int, int, int]]:
    """One test of an argument: falls through where it holds, else jumps over `behind` further steps."""
    kind, argument = test[:2]
    low = _ARGUMENTS + 8 * argument
    if kind == policy.ZERO:
        return [(_LOAD, 0, 0, low), (_EQUAL, 0, behind + 2, 0), (_LOAD, 0, 0, low + 4), (_EQUAL, 0, behind, 0)]
    if kind == policy.MASKED:
        return [(_LOAD, 0, 0, low), (_AND, 0, 0, test[3]), (_EQUAL, 0, behind, test[2])]
    values = [process if value == policy.SELF else value for value in test[2]]
    last = len(values) - 1
    found = [(_EQUAL, last - i, 0 if i < last else behind, value) for i, value in enumerate(values)]
    return [(_LOAD, 0, 0, low), *found]
