"""Tests that plain values are read and nothing named is run."""

import builtins
import collections
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from mme2e_jax.pickles.plain_pickle import OPAQUE, Global, RefusedError, Stateful, load, refuse_persistent_id

every_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


def read(data: bytes, names: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Loads a pickle that may name what is given."""
    return load(data, names, lambda persistent_id: ("id", persistent_id))


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self._reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self._reduced


class Outer:
    class Inner:
        pass


@every_protocol
def test_plain_values_are_those_that_were_pickled(protocol: int) -> None:
    shared = [1, 2]
    value = {
        "numbers": [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**70), 1 << 3000, 0.5, -1e300],
        "text": ["", "a", "é\n😀", "x" * 300, "\\'\""],
        "constants": (True, False, None),
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": {1: {2.5: {None: [[[]]]}}},
        "shared": [shared, shared, (shared,)],
    }

    found = read(pickle.dumps(value, protocol))

    assert found == value
    assert found["shared"][0] is found["shared"][1]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_and_what_contains_itself(protocol: int) -> None:
    loop: list[Any] = [b"", b"\0\xff", b"x" * 300]
    loop.append(loop)

    found = read(pickle.dumps(loop, protocol))

    assert found[:3] == loop[:3]
    assert found[3] is found


@pytest.mark.parametrize("protocol", [4, 5])
def test_sets_come_as_lists(protocol: int) -> None:
    assert sorted(read(pickle.dumps({3, 1, 2}, protocol))) == [1, 2, 3]
    assert sorted(read(pickle.dumps(frozenset([3, 1, 2]), protocol))) == [1, 2, 3]


@every_protocol
def test_a_call_of_a_listed_name_is_a_call_of_the_callers_function(protocol: int) -> None:
    ordered = collections.OrderedDict(a=1, b=[2])
    vars(ordered)["_metadata"] = {"version": 1}

    assert read(pickle.dumps(ordered, protocol), {"collections.OrderedDict": dict}) == {"a": 1, "b": [2]}
    found = read(pickle.dumps([len, Call(len, "abc")], 4), {"builtins.len": lambda x: ("length of", x)})
    assert found == [Global("builtins.len"), ("length of", "abc")]


def test_attributes_of_what_is_of_no_use_are_left_out() -> None:
    data = pickle.dumps(Call(len, "abc", state={"a": 1}), 4)

    assert read(data, {"builtins.len": lambda x: OPAQUE}) is OPAQUE
    with pytest.raises(TypeError, match="attributes"):
        read(data, {"builtins.len": lambda x: []})


@every_protocol
def test_an_object_that_has_a_state_is_given_it(protocol: int) -> None:
    class Filled(Stateful):
        state: Any = None

        def set_state(self, state: Any) -> None:
            self.state = state

    data = pickle.dumps([Call(len, "abc", state=(1, [2])), Call(len, "")], protocol)

    found = read(data, dict.fromkeys(("builtins.len", "__builtin__.len"), lambda x: Filled()))

    assert [x.state for x in found] == [(1, [2]), None]


def test_a_file_is_read_to_the_end_of_one_pickle() -> None:
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps("two", 0) + b"rest")

    assert [load(file, {}), load(file, {}), file.read()] == [[1], "two", b"rest"]


def test_a_pickle_that_stands_alone_has_no_persistent_ids() -> None:
    with pytest.raises(RefusedError, match="a value outside the pickle"):
        load(b"\x80\x02K\x01Q.", {}, refuse_persistent_id)


@every_protocol
@pytest.mark.parametrize(
    ("function", "arguments", "names"),
    [
        (os.system, ("touch {}",), {"posix.system", "nt.system"}),
        (os.mkdir, ("{}",), {"posix.mkdir", "nt.mkdir"}),
        (eval, ("__import__('os').mkdir({!r})",), {"builtins.eval", "__builtin__.eval"}),
        (exec, ("import os; os.mkdir({!r})",), {"builtins.exec", "__builtin__.exec"}),
        (builtins.__import__, ("os",), {"builtins.__import__", "__builtin__.__import__"}),
        (getattr, ("", "join"), {"builtins.getattr", "__builtin__.getattr"}),
        (Outer.Inner, (), {"tests.pickles.test_plain_pickle.Outer.Inner", "builtins.getattr", "__builtin__.getattr"}),
    ],
)
def test_any_other_name_is_refused_by_name_and_not_run(
    tmp_path: Path, protocol: int, function: Any, arguments: tuple[str, ...], names: set[str]
) -> None:
    marker = tmp_path / "ran"
    called = Call(function, *(argument.format(str(marker)) for argument in arguments))

    for value in (called, [called], {"state_dict": called}, {"a": Call(len, called)}):
        with pytest.raises(RefusedError) as refused:
            read(pickle.dumps(value, protocol), {"builtins.len": len, "__builtin__.len": len})
        assert str(refused.value) in names

    assert not marker.exists()
    if function in (os.mkdir, eval, exec):
        pickle.loads(pickle.dumps(called, protocol))
        assert marker.exists(), "the pickle does nothing, whoever loads it"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"(S'touch ran'\nios\nsystem\n.", "os.system"),  # INST
        (b"(cos\nsystem\nS'touch ran'\no.", "os.system"),  # OBJ
        (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),  # GLOBAL, REDUCE
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.", "os.system"),  # STACK_GLOBAL
        (b"\x80\x02cos\nsystem\n)\x81.", "os.system"),  # NEWOBJ
        (b"\x80\x02cok\nlisted\n)\x81.", "the pickle opcode NEWOBJ"),
        (b"\x80\x04cok\nlisted\n)}\x92.", "the pickle opcode NEWOBJ_EX"),
        (b"(cok\nlisted\no.", "the pickle opcode OBJ"),
        (b"(iok\nlisted\n.", "ok.listed"),
        (b"\x80\x02\x82\x01.", "the pickle opcode EXT1"),
        (b"P17\n.", "the pickle opcode PERSID"),
        (b"\x80\x05\x97.", "the pickle opcode NEXT_BUFFER"),
        # The attribute of a listed function, in one name or in two.
        (b"\x80\x04\x8c\x02ok\x8c\x12listed.__globals__\x93.", "ok.listed.__globals__"),
        (b"\x80\x04\x8c\x09ok.listed\x8c\x0b__globals__\x93.", "ok.listed.__globals__"),
        (b"cok listed\n__globals__\n.", "ok.listed.__globals__"),
        (b"cbuiltins\ngetattr\n(cok\nlisted\nS'__globals__'\ntR.", "builtins.getattr"),
    ],
)
def test_names_are_refused_however_they_are_written(data: bytes, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read(data, {"ok.listed": lambda *arguments: pytest.fail("called")})

    assert str(refused.value) == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"I1\n",  # no STOP
        b".",
        b"0.",
        b"(0.",
        b"\x85.",
        b"N\x86.",
        b"Na.",
        b"NNa.",
        b"NNs.",
        b"}Ns.",
        b"}(NNNu.",
        b"}]Ns.",  # a list as a key
        b"}()Nu.",  # and a tuple
        b"t.",
        b"g1\n.",
        b"h\x01.",
        b"q\x01.",
        b"R.",
        b"NNR.",
        b"cok\nlisted\nNR.",  # a call without a tuple
        b"cok\nonly_named\n)R.",
        b"\x80\x04NN\x93.",
        b"]}b.",  # attributes of a list
        b"\xff.",
        b"I12345678901234567890x\n.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",  # a text of 2**64 bytes
        b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"abc.",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc.",
        b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b"1.",
    ],
)
def test_a_damaged_pickle_is_an_error_of_a_few_kinds(data: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        read(data, {"ok.listed": lambda: None, "ok.only_named": None})


def test_what_would_take_memory_or_time_for_ever_does_not() -> None:
    # A reader that does not see them coming does not come back, or runs out of memory.
    read(b"]" * 200_000 + b"a" * 199_999 + b".")  # nested 200,000 deep
    read(b")" + b"2\x86" * 10_000 + b".")  # a tuple that holds itself twice, 10,000 times over
    with pytest.raises(TypeError, match="key of type tuple"):
        read(b"})" + b"2\x86" * 100 + b"Ns.")  # as a key, it would be hashed 2**100 times
    read(b"\x80\x04\x95" + b"\xff" * 8 + b"N.")  # a frame of 2**64 bytes
    read(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.")  # the memo's place 2**32 - 1
    read(b"(" * 200_000 + b"N.")
