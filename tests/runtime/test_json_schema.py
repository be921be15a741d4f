"""JSON from outside is taken as it is, or refused with the name of what is wrong."""

import re

import pytest

from mme2e_jax.runtime.json_schema import JsonObject, parse_json


class Inner(JsonObject):
    size: int


class Outer(JsonObject):
    name: str
    ratio: float = 0.5
    parts: tuple[Inner, ...] = ()


def test_declared_keys_are_read_and_others_ignored() -> None:
    found = parse_json(Outer, b'{"name": "a", "ratio": 1, "parts": [{"size": 2}], "other": []}')

    assert (found.name, found.ratio, found.parts[0].size) == ("a", 1.0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"name": 3}', "name: expected a valid string, found 3"),
        ('{"name": "a", "ratio": "0.5"}', "ratio: expected a valid number, found '0.5'"),
        ('{"name": "a", "parts": [{"size": 1}, {"size": true}]}', "parts.1.size: expected a valid integer, found True"),
        ('{"parts": [{}]}', "name is missing; parts.0.size is missing"),
        ("[]", "expected an object"),
        ("{", "Invalid JSON: EOF"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_converted(content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse_json(Outer, content)


def test_many_problems_are_counted() -> None:
    with pytest.raises(ValueError, match=r"; and 2 more$"):
        parse_json(dict[str, int], '{"a": "", "b": "", "c": "", "d": "", "e": ""}')
