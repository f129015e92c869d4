"""The protocol keeps every message and refuses everything else."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maisi import protocol
from maisi.protocol import PROTOCOL_VERSION, Cancel, Progress, ProtocolError, VersionError, decode, encode

KINDS = list(protocol._MESSAGES.values())
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything_json = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def values(hint: Any) -> st.SearchStrategy:
    """Values that a field declared as ``hint`` may hold."""
    if isinstance(hint, UnionType):
        return st.one_of([values(h) for h in get_args(hint)])
    if get_origin(hint) is list:
        return st.lists(values(get_args(hint)[0]), max_size=17)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(), values(get_args(hint)[1]), max_size=4)
    simple = {
        int: st.integers(),
        bool: st.booleans(),
        str: st.text(),
        type(None): st.none(),
        float: numbers,
        Any: anything_json,
    }
    return simple[hint]


@st.composite
def messages(draw: st.DrawFn) -> protocol.Message:
    kind = draw(st.sampled_from(KINDS))
    hints = get_type_hints(kind)
    return kind(**{f.name: draw(values(hints[f.name])) for f in fields(kind)})


@given(messages())
def test_every_message_survives_the_way_through_one_line(message):
    line = encode(message)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert decode(line) == message


@given(messages())
def test_optional_fields_may_be_left_out(message):
    data = json.loads(encode(message))
    optional = [f.name for f in fields(message) if f.default is not MISSING or f.default_factory is not MISSING]
    for name in optional:
        del data[name]
    assert type(decode(json.dumps(data))) is type(message)


@given(messages(), st.data())
def test_missing_unknown_or_wrongly_typed_field_is_refused(message, data):
    wire = json.loads(encode(message))
    required = [f.name for f in fields(message) if f.default is MISSING and f.default_factory is MISSING]
    for name in required:
        with pytest.raises(ProtocolError):
            decode(json.dumps({key: value for key, value in wire.items() if key != name}))
    with pytest.raises(ProtocolError):
        decode(json.dumps({**wire, "surprise": 1}))
    for name in required:
        value = data.draw(anything_json)
        assume(not protocol._fits(value, get_type_hints(type(message))[name]))
        with pytest.raises(ProtocolError):
            decode(json.dumps({**wire, name: value}))


@pytest.mark.parametrize("job", ["1", 1.0, True, None, [1]])
def test_job_number_is_an_integer(job):
    with pytest.raises(ProtocolError, match="job"):
        decode(json.dumps({"v": PROTOCOL_VERSION, "kind": "cancel", "job": job}))


@given(st.text() | anything_json.map(json.dumps) | st.binary().map(lambda b: b.decode("utf-8", "replace")))
def test_garbage_is_refused(line):
    with pytest.raises(ProtocolError):
        decode(line)


@pytest.mark.parametrize("kind", [None, 5, [], {}, "no such kind", "Cancel"])
def test_unknown_kind_is_refused(kind):
    with pytest.raises(ProtocolError, match="unknown message"):
        decode(json.dumps({"v": PROTOCOL_VERSION, "kind": kind, "job": 1}))


def test_very_deep_json_is_refused():
    with pytest.raises(ProtocolError):
        decode("[" * 100_000)


@given(messages(), anything_json)
def test_another_version_is_told_as_such(message, version):
    assume(version != PROTOCOL_VERSION)
    with pytest.raises(VersionError, match=f"expected {PROTOCOL_VERSION}"):
        decode(json.dumps({**json.loads(encode(message)), "v": version}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_on_both_sides(number):
    with pytest.raises(ValueError, match="JSON"):
        encode(Progress(1, "sample", 1, 2, seconds_left=number))
    line = encode(Progress(1, "sample", 1, 2, seconds_left=0.5)).replace("0.5", json.dumps(number))
    with pytest.raises(ProtocolError):
        decode(line)


def test_message_of_an_error_shows_only_the_beginning_of_a_long_line():
    with pytest.raises(ProtocolError) as caught:
        decode("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_cancel_on_the_wire_is_as_documented():
    assert json.loads(encode(Cancel(job=3))) == {"v": 3, "kind": "cancel", "job": 3}


def test_protocol_imports_the_standard_library_only():
    code = "import sys, maisi.protocol; print([m for m in ('torch', 'numpy', 'monai') if m in sys.modules])"
    path = str(protocol.__file__).rsplit("maisi", 1)[0]
    shown = subprocess.run([sys.executable, "-c", code], cwd=path, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
