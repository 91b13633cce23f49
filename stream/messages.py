"""What goes over the wire: topics, the four messages, the echo, and their MessagePack form.

``PROTOCOL.md`` is the same for people and for other languages; a test compares the two.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ..models.documents import one_line
from ..models.errors import InputError
from .observation import FaceObservation, Int32, Int64
from .schema import DAMAGE, SCHEMA_VERSION, from_plain, to_plain

DEFAULT_ENDPOINT: Final = "tcp://127.0.0.1:5570"
DEFAULT_ECHO: Final = "tcp://127.0.0.1:5571"
LAST_PORT: Final = 65_535
"""Of TCP; ZeroMQ would take the remainder of a larger number."""

SourceState = Literal["running", "stalled", "reconnecting", "ended", "failed"]


def _meta(description: str, unit: str = "", dtype: str | None = None) -> Meta:
    extra = {"unit": unit} if dtype is None else {"unit": unit, "dtype": dtype}
    return Meta(description=description, extra=extra)


_Version = Annotated[int, _meta("version of the schema", dtype="int")]
_Seq = Annotated[Int64, _meta("counts the messages of this topic, from 0", dtype="int64")]
_Published = Annotated[Int64, _meta("time of sending, the publisher's clock", "ns", "int64")]
_Three = Meta(min_length=3, max_length=3)
_Matrix3 = Annotated[list[Annotated[list[float], _Three]], _Three]


class PoseMessage(FaceObservation, frozen=True, kw_only=True, eq=False):
    """``pose.<stream>.<track>.``: a row, with what the wire adds."""

    v: _Version
    seq: _Seq
    t_publish_ns: _Published


class FrameMessage(msgspec.Struct, frozen=True, kw_only=True):
    """``frame.<stream>.``: every frame, after its poses; without faces ``tracks`` is empty."""

    v: _Version
    seq: _Seq
    t_publish_ns: _Published
    frame: Annotated[Int64, _meta("index of the frame in its source, from 0", dtype="int64")]
    t_media_ns: Annotated[Int64 | None, _meta("as in pose", "ns", "int64")]
    t_capture_ns: Annotated[Int64 | None, _meta("as in pose", "ns", "int64")]
    tracks: Annotated[list[Int32], _meta("the tracks whose poses were sent", dtype="int32[]")]


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """``status.<stream>.``: once a second, whether frames come or not."""

    v: _Version
    seq: _Seq
    t_publish_ns: _Published
    rate: Annotated[float, _meta("frames published in the last second", "1/s", "float64")]
    latency_ms: Annotated[
        dict[str, float], _meta("median by stage, as far as measured", "ms", "map")
    ]
    drops: Annotated[dict[str, int], _meta("frames lost so far, by place", dtype="map")]
    source_state: Annotated[
        SourceState,
        _meta("running, stalled (1 s without a frame), reconnecting, ended, failed", dtype="str"),
    ]
    latency_99_ms: Annotated[
        dict[str, float], _meta("99th percentile by stage, as far as measured", "ms", "map")
    ] = msgspec.field(default_factory=dict)
    detail: Annotated[str, _meta("why, while reconnecting or failed: one line", dtype="str")] = ""


class HelloMessage(msgspec.Struct, frozen=True, kw_only=True):
    """``hello.<stream>.``: on connecting (the welcome) and once a second."""

    v: _Version
    seq: _Seq
    t_publish_ns: _Published
    stream: Annotated[str, _meta("name of the stream", dtype="str")]
    columns: Annotated[
        list[dict[str, Any]],
        _meta("fields of pose: name, type, length, nullable, unit, description", dtype="map[]"),
    ]
    conventions: Annotated[dict[str, str], _meta("frames and signs in words", dtype="map")]
    camera_matrix: Annotated[
        _Matrix3 | None, _meta("3x3; the poses hold for it", "px", "float64[][]")
    ]
    bundle_hash: Annotated[str, _meta("of the model bundle", dtype="str")]
    source: Annotated[str, _meta("name of the source", dtype="str")]
    width: Annotated[Int32, _meta("of a frame", "px", "int32")]
    height: Annotated[Int32, _meta("of a frame", "px", "int32")]
    rate: Annotated[float | None, _meta("nominal frame rate", "1/s", "float64")]
    landmark_names: Annotated[list[str], _meta("names of the 68 points", dtype="str[]")]
    blendshape_names: Annotated[list[str], _meta("names of the 52 values", dtype="str[]")]
    clock_monotonic_ns: Annotated[Int64, _meta("the publisher's clock", "ns", "int64")]
    clock_unix_ns: Annotated[Int64, _meta("wall clock at that moment, for people", "ns", "int64")]
    echo: Annotated[str | None, _meta("endpoint of the clock echo", dtype="str")]


class EchoRequest(msgspec.Struct, frozen=True):
    """What can be asked of the echo besides its clock."""

    request: Annotated[str, _meta("what to do: center", dtype="str")]
    stream: Annotated[str | None, _meta("of which stream; null: of all", dtype="str")] = None


class EchoReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of the echo; without a request the clock is all of it."""

    t_ns: Annotated[Int64, _meta("the publisher's clock", "ns", "int64")]
    reply: Annotated[
        str, _meta("what a request did, for people; absent without one", "", "str")
    ] = ""
    error: Annotated[str, _meta("why a request was not done; absent where it was", "", "str")] = ""


Message = PoseMessage | FrameMessage | StatusMessage | HelloMessage

MESSAGES: Final[dict[str, type[Message]]] = {
    "pose": PoseMessage,
    "frame": FrameMessage,
    "status": StatusMessage,
    "hello": HelloMessage,
}
"""The first word of a topic and its message."""

CONVENTIONS: Final[dict[str, str]] = {
    "camera": "OpenCV: x right, y down, z forward; mm",
    "head": "origin at the sellion of the neutral mean face; x to the image's right, y down, "
    "z into the head, for a face that looks straight into the camera; mm",
    "image": "the centre of the top-left pixel is (0, 0); px",
    "pose": "camera_from_head: p_camera = R(qw, qx, qy, qz) p_head + (tx, ty, tz)",
    "angles": "R = Rx(-pitch) Ry(yaw) Rz(roll), right-handed; yaw > 0 turns the nose to the "
    "picture's left edge, pitch > 0 is up, roll > 0 is clockwise in the picture; deg",
    "sides": "left and right are the subject's",
    "clock": "t_capture_ns and t_publish_ns: the publisher's monotonic clock; t_media_ns: pts",
}

_STREAM = re.compile(r"[A-Za-z0-9_-]+")
_TOPIC = re.compile(rb"(pose|frame|status|hello)\.[A-Za-z0-9_-]+\.([0-9-]+\.)?")
_ENCODER = msgspec.msgpack.Encoder(enc_hook=to_plain)
_DECODERS = {
    kind: msgspec.msgpack.Decoder(message, dec_hook=from_plain)
    for kind, message in MESSAGES.items()
}
_VERSION = msgspec.msgpack.Decoder(msgspec.defstruct("_Version", [("v", int)]))
_ROW_FIELDS = FaceObservation.__struct_fields__


def check_stream_name(name: str) -> str:
    """The name itself.

    Raises:
        InputError: it holds something other than letters, digits, ``_`` and ``-``.
    """
    if not _STREAM.fullmatch(name):
        raise InputError(f"stream name {name!r}: expected letters, digits, _ and - only")
    return name


def topic(kind: str, stream: str, track: int | None = None) -> bytes:
    """``<kind>.<stream>.`` or ``<kind>.<stream>.<track>.``; the dot keeps 1 apart from 10."""
    return f"{kind}.{stream}.{'' if track is None else f'{track}.'}".encode()


def check_topic(name: bytes) -> None:
    """Refuse what no publisher of mien's calls its messages.

    Raises:
        InputError: it is not of the form that :func:`topic` makes.
    """
    if not _TOPIC.fullmatch(name):
        raise InputError(f"a message called {name[:60]!r}, expected such as 'pose.main.0.'")


def split_welcome(frame: bytes) -> tuple[bytes, bytes]:
    """Topic and payload of the welcome, which ZeroMQ can only send as one frame.

    Raises:
        InputError: it does not begin with a topic of hello.
    """
    parts = frame.split(b".", 2)
    if len(parts) < 3 or parts[0] != b"hello":
        raise InputError("a message of one frame that is no welcome")
    return frame[: -len(parts[2])] if parts[2] else frame, parts[2]


def pose_message(observation: FaceObservation, *, seq: int, t_publish_ns: int) -> PoseMessage:
    """A row with the fields of the wire; arrays are shared."""
    row = {name: getattr(observation, name) for name in _ROW_FIELDS}
    return PoseMessage(v=SCHEMA_VERSION, seq=seq, t_publish_ns=t_publish_ns, **row)


def observation_of(message: PoseMessage) -> FaceObservation:
    """The row without the fields of the wire; arrays are shared."""
    return FaceObservation(**{name: getattr(message, name) for name in _ROW_FIELDS})


def encode(message: Message | EchoRequest | EchoReply) -> bytes:
    """MessagePack: a map with the field names as keys, arrays as lists."""
    return _ENCODER.encode(message)


def decode(topic: bytes, payload: bytes) -> Message:
    """The message of a topic. Fields that this version does not know are left out.

    Raises:
        InputError: the topic is unknown, the payload is damaged, lacks a field, has one of another
            type or length, or is of another version.
    """
    kind = topic.split(b".", 1)[0].decode("ascii", "replace")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise InputError(f"unknown topic {topic!r}: expected one of {', '.join(_DECODERS)}")
    try:
        return decoder.decode(payload)
    except (*DAMAGE, InputError) as error:
        raise InputError(_complaint(topic, payload, error)) from error


def _complaint(topic: bytes, payload: bytes, error: Exception) -> str:
    name = repr(topic.decode("ascii", "replace"))[1:-1]
    try:
        version = getattr(_VERSION.decode(payload), "v", SCHEMA_VERSION)
    except DAMAGE:
        version = SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        return f"{name}: schema version {version}, this mien reads version {SCHEMA_VERSION}"
    return f"{name}: not a message of schema version {SCHEMA_VERSION}: {one_line(error)}"
