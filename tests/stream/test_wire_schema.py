"""``protocol.schema.json`` against the code, and a live publisher's messages against it."""

from __future__ import annotations

import importlib.resources
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from mien.stream.frame import Frame
from mien.stream.health import Health
from mien.stream.json_schema import schema_text
from mien.stream.messages import EchoRequest, encode
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher

FILE = importlib.resources.files("mien.stream").joinpath("protocol.schema.json").read_text("utf-8")
SCHEMA: dict[str, Any] = json.loads(FILE)
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "null": lambda v: v is None,
    "any": lambda v: True,
}
CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda v, said: v == said,
    "enum": lambda v, said: v in said,
    "required": lambda v, said: set(said) <= set(v),
    "minItems": lambda v, said: len(v) >= said,
    "maxItems": lambda v, said: len(v) <= said,
    "minimum": lambda v, said: v >= said,
    "maximum": lambda v, said: v <= said,
    "anyOf": lambda v, said: any(not problems(v, part) for part in said),
    "$ref": lambda v, said: not problems(v, SCHEMA["$defs"][said.removeprefix("#/$defs/")]),
}
NOTES = {"title", "description", "default", "unit", "dtype"}  # words that check nothing
INNER = {"properties", "additionalProperties", "items"}


def problems(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value: the part of JSON Schema that the file uses, and no more."""
    assert schema.keys() <= {"type"} | CHECKS.keys() | NOTES | INNER
    if not TYPES[schema.get("type", "any")](value):
        return [f"{value!r} is not of type {schema['type']}"]
    found = [
        f"not {w} {said}"
        for w, said in schema.items()
        if w in CHECKS and not CHECKS[w](value, said)
    ]
    for name, part in schema.get("properties", {}).items():
        found += [f"{name}: {p}" for p in problems(value[name], part)] if name in value else []
    if "additionalProperties" in schema:
        found += [p for v in value.values() for p in problems(v, schema["additionalProperties"])]
    if "items" in schema:
        found += [p for v in value for p in problems(v, schema["items"])]
    return found


def test_the_file_is_that_of_the_code() -> None:
    assert schema_text() == FILE, "run python -m mien.stream.json_schema"


def test_every_message_of_a_live_publisher_is_valid(
    recording: Recording, make_random_row: Callable[..., FaceObservation]
) -> None:
    health = Health({"fit": 1.0}, {"fit": 2.0}, {"stale": 1}, "reconnecting", "no route")
    kinds: dict[str, Any] = {}
    with (
        ZeroMQPublisher("tcp://127.0.0.1:*", requests={"center": lambda _: "done"}) as publisher,
        publisher.add("a", recording, lambda: health) as stream,
        zmq.Context() as context,
        context.socket(zmq.SUB) as reader,
        context.socket(zmq.REQ) as asker,
    ):
        reader.linger = asker.linger = 0
        reader.subscribe("")
        reader.connect(publisher.endpoint)
        end = time.monotonic() + 10
        while not {"pose", "frame", "status", "hello"} <= kinds.keys() and time.monotonic() < end:
            row = make_random_row(1, frame=3, track=2, t_media_ns=None)
            stream.write(Frame(np.zeros((1, 1, 3), np.uint8), 3), [row])
            while reader.poll(20):
                topic, *payload = reader.recv_multipart()
                if payload:
                    kind = topic.split(b".")[0].decode()
                    kinds[kind] = msgspec.msgpack.decode(payload[0])
                    assert problems(kinds[kind], {"$ref": f"#/$defs/{kind}"}) == []
                    assert problems(kinds[kind], {"anyOf": SCHEMA["anyOf"]}) == []
        asker.connect(publisher.echo_endpoint)
        request = encode(EchoRequest(request="center"))
        asker.send(request)
        assert asker.poll(5000)
        reply = msgspec.msgpack.decode(asker.recv())
    assert reply["reply"] == "done"
    for name, value in (("request", msgspec.msgpack.decode(request)), ("reply", reply)):
        assert problems(value, {"$ref": f"#/$defs/echo_{name}"}) == []
    wrong: tuple[tuple[str, object], ...] = (
        ("v", 2),
        ("landmarks", [0.0] * 135),
        ("shape", None),
        ("track", 2**31),
        ("observed", 1),
    )
    for field, bad in wrong:
        assert problems({**kinds["pose"], field: bad}, {"$ref": "#/$defs/pose"}), field
    del kinds["pose"]["qw"]
    assert problems(kinds["pose"], {"$ref": "#/$defs/pose"})
    assert problems({**kinds["status"], "source_state": "well"}, {"$ref": "#/$defs/status"})


@pytest.mark.parametrize("kind", ["pose", "frame", "status", "hello"])
def test_fields_that_are_new_are_allowed(kind: str) -> None:
    assert "additionalProperties" not in SCHEMA["$defs"][kind]
