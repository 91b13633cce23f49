"""What is sent by UDP, read back by plain sockets and by python-osc's server."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from mien.stream.frame import Frame
from mien.stream.gaze import eye_angles
from mien.stream.neutral import Neutral, quaternion_from_yaw_pitch_roll
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Sink
from mien.stream.sinks.ifacialmocap import IFacialMocapSink
from mien.stream.sinks.opentrack import OpenTrackSink
from mien.stream.sinks.spellings import LIVE_LINK_ORDER, SPELLINGS
from mien.stream.sinks.udp import UdpHeadSink
from mien.stream.sinks.vmc import VmcSink

Maker = Callable[..., FaceObservation]
GREY = np.zeros((4, 4, 3), np.uint8)
KINDS = (OpenTrackSink, VmcSink, IFacialMocapSink)


def frame(index: int = 0) -> Frame:
    return Frame(GREY, index, t_capture_ns=10**9 + index * 33_333_333)


class Receiver:
    """A socket of another program."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10.0)
        self.address: tuple[str, int] = self.socket.getsockname()

    def datagram(self) -> bytes:
        return self.socket.recv(65535)

    def empty(self) -> bool:
        """Whether nothing has come: loopback delivers within the call that sends."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(65535)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10.0)
        return False


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.socket.close()


@pytest.fixture(scope="module")
def head(make_face_row: Maker) -> Maker:
    def make(
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        place_mm: tuple[float, float, float] = (0.0, 0.0, 600.0),
        **fields: Any,
    ) -> FaceObservation:
        qw, qx, qy, qz = quaternion_from_yaw_pitch_roll(yaw, pitch, roll).tolist()
        tx, ty, tz = place_mm
        return make_face_row(qw=qw, qx=qx, qy=qy, qz=qz, tx=tx, ty=ty, tz=tz, **fields)

    return make


def blendshapes(**values: float) -> np.ndarray:
    array = np.zeros(52, np.float32)
    for name, value in values.items():
        array[BLENDSHAPE_INDEX[name]] = value
    return array


# OpenTrack


def test_opentrack_gets_six_doubles_in_centimetres_and_degrees(
    receiver: Receiver, head: Maker
) -> None:
    with OpenTrackSink(receiver.address) as sink:
        assert isinstance(sink, Sink)
        sink.write(frame(), [head(place_mm=(40.0, 30.0, 600.0))])
        assert struct.unpack("<6d", receiver.datagram()) == (0.0,) * 6
        # 12 cm to the picture's right, 5 cm up, 7 cm nearer; nose to the picture's left, up,
        # clockwise in the picture.
        sink.write(frame(1), [head(20.0, 10.0, -5.0, (160.0, -20.0, 530.0))])
        data = receiver.datagram()
    assert len(data) == 48
    assert struct.unpack("<6d", data) == pytest.approx((12.0, 5.0, -7.0, 20.0, 10.0, -5.0))
    assert sink.sent == 2


def test_opentrack_is_relative_to_the_neutral_pose_and_inverted_by_axis(
    receiver: Receiver, head: Maker
) -> None:
    neutral = Neutral(invert=["yaw", "y"])
    neutral.center()
    with OpenTrackSink(receiver.address, neutral) as sink:
        sink.write(frame(), [head(30.0, -10.0, 4.0, (100.0, 50.0, 700.0))])
        assert struct.unpack("<6d", receiver.datagram()) == pytest.approx((0.0,) * 6, abs=1e-9)
    with OpenTrackSink(receiver.address, Neutral(invert=["yaw", "y"])) as sink:
        sink.write(frame(), [head()])
        receiver.datagram()
        sink.write(frame(1), [head(9.0, 0.0, 0.0, (0.0, -10.0, 600.0))])
        x, y, z, yaw, pitch, roll = struct.unpack("<6d", receiver.datagram())
    assert (x, y, z) == pytest.approx((0.0, -1.0, 0.0))
    assert (yaw, pitch, roll) == pytest.approx((-9.0, 0.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("fields", [{"tx": math.nan}, {"tz": math.inf}, {"qy": math.nan}])
def test_what_is_not_finite_is_never_sent(
    receiver: Receiver, make_face_row: Maker, fields: dict[str, float]
) -> None:
    for kind in KINDS:
        with kind(receiver.address) as sink:
            sink.write(frame(), [make_face_row()])
            receiver.datagram()
            sink.write(frame(1), [make_face_row(**fields)])
            assert (sink.sent, sink.lost) == (1, 1)
    assert receiver.empty()


# What all of them have in common


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_without_the_face_sends_nothing(
    kind: type[UdpHeadSink], receiver: Receiver, head: Maker
) -> None:
    with kind(receiver.address) as sink:
        sink.write(frame(), [])
        assert receiver.empty()
        sink.write(frame(1), [head(track=4)])
        first = receiver.datagram()
        sink.write(frame(2), [head(30.0, track=2), head(track=4, observed=False)])
        assert receiver.datagram() == first or kind is VmcSink
        sink.write(frame(3), [])
        assert receiver.empty()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_listening_is_no_error(kind: type[UdpHeadSink], head: Maker) -> None:
    gone = Receiver()
    gone.socket.close()
    with kind(gone.address) as sink:
        for i in range(50):
            sink.write(frame(i), [head()])
    assert sink.sent + sink.lost == 50
    assert sink.lost > 0, "the system reports refusals, and they are counted"


@pytest.mark.parametrize("kind", KINDS)
def test_a_receiver_that_reads_nothing_holds_nothing_up(
    kind: type[UdpHeadSink], receiver: Receiver, head: Maker
) -> None:
    receiver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with kind(receiver.address) as sink:
        for i in range(400):
            sink.write(frame(i), [head()])
        assert sink.sent + sink.lost == 400
        # Later it reads, and is served again.
        while not receiver.empty():
            pass
        sink.write(frame(), [head()])
        assert receiver.datagram()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_addresses_are_one_line(kind: type[UdpHeadSink]) -> None:
    option = kind.OPTION
    with pytest.raises(OutputError, match=rf"{option} no-such-host\.invalid:9: unknown host"):
        kind(("no-such-host.invalid", 9))
    with pytest.raises(OutputError, match="unknown host"):
        kind(("a" * 70 + ".invalid", 9))
    for port in (0, -1, 65536):
        with pytest.raises(InputError, match="expected a port"):
            kind(("127.0.0.1", port))


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_is_fine_and_writing_after_it_is_not(
    kind: type[UdpHeadSink], receiver: Receiver, head: Maker
) -> None:
    sink = kind(receiver.address)
    sink.close()
    sink.close()
    sink.abort()
    with pytest.raises(OutputError, match="is closed"):
        sink.write(frame(), [head()])


def test_localhost_is_where_programs_for_ipv4_listen(receiver: Receiver, head: Maker) -> None:
    with OpenTrackSink(("localhost", receiver.address[1])) as sink:
        sink.write(frame(), [head()])
        assert len(receiver.datagram()) == 48


# iFacialMocap


def parse_ifacialmocap(data: bytes) -> tuple[dict[str, int], dict[str, list[float]]]:
    """As receivers do it: split at '=', then at '|', then at '-' or '#'."""
    values_text, angles_text = data.decode("ascii").split("=")
    assert angles_text.endswith("|"), "readers look for the separator after the last part"
    values = {
        name: int(value)
        for name, value in (part.split("-") for part in values_text.split("|") if part)
    }
    angles = {
        name: [float(number) for number in numbers.split(",")]
        for name, numbers in (part.split("#") for part in angles_text.split("|") if part)
    }
    return values, angles


def test_ifacialmocap_gets_52_whole_numbers_the_head_and_the_eyes(
    receiver: Receiver, head: Maker
) -> None:
    shapes = blendshapes(
        eyeBlinkLeft=1.0, mouthSmileRight=0.256, jawOpen=1.5, mouthLeft=0.31,
        eyeLookUpLeft=0.5, eyeLookUpRight=0.5, eyeLookOutLeft=0.25, eyeLookInRight=0.25,
    )  # fmt: skip
    with IFacialMocapSink(receiver.address) as sink:
        sink.write(frame(), [head()])
        receiver.datagram()
        # To the picture's right edge (the subject's left), up, clockwise in the picture;
        # 120 mm to the picture's right, 50 up, 70 nearer.
        row = head(-20.0, 10.0, 5.0, (120.0, -50.0, 530.0), blendshapes=shapes)
        sink.write(frame(1), [row])
        values, angles = parse_ifacialmocap(receiver.datagram())
    assert len(values) == 52
    assert (values["eyeBlink_L"], values["mouthSmile_R"], values["jawOpen"]) == (100, 26, 100)
    assert (values["mouthLeft"], values["eyeBlink_R"], values["browInnerUp"]) == (31, 0, 0)
    # ARKit's axes, right-handed: x to the subject's left, y up, z out of the face.
    assert angles["head"] == pytest.approx([-10, 20, -5, 0.12, 0.05, 0.07], abs=1e-4)
    # Both eyes to the subject's left (y > 0) and up (x < 0).
    assert angles["leftEye"] == pytest.approx([-15.0, 7.5, 0.0])
    assert angles["rightEye"] == pytest.approx([-15.0, 7.5, 0.0])


def test_ifacialmocap_without_blendshapes_is_the_head_alone(
    receiver: Receiver, head: Maker
) -> None:
    with IFacialMocapSink(receiver.address) as sink:
        sink.write(frame(), [head(5.0, blendshapes=None)])
        values, angles = parse_ifacialmocap(receiver.datagram())
    assert values == {}
    assert angles == {"head": pytest.approx([0.0, -5.0, 0.0, 0.0, 0.0, 0.0], abs=1e-4)}


# VMC


class Performer:
    """python-osc's server, and what it was told."""

    def __init__(self) -> None:
        server = pytest.importorskip("pythonosc.osc_server")
        dispatcher = pytest.importorskip("pythonosc.dispatcher").Dispatcher()
        dispatcher.set_default_handler(lambda address, *given: self.heard.append((address, given)))
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self.server = server.BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.server.timeout = 10.0
        self.address: tuple[str, int] = self.server.server_address

    def hear(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The messages of one datagram, in order."""
        self.heard.clear()
        self.server.handle_request()
        return list(self.heard)


@pytest.fixture
def performer() -> Iterator[Performer]:
    made = Performer()
    yield made
    made.server.server_close()


def turn_unity(quat_xyzw: tuple[float, ...], vector: tuple[float, float, float]) -> np.ndarray:
    """``quaternion * vector`` as Unity's documentation writes it, component by component."""
    x, y, z, w = quat_xyzw
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.array(rows) @ np.array(vector)


def test_vmc_is_one_bundle_of_the_head_and_52_blendshapes(
    performer: Performer, head: Maker
) -> None:
    shapes = np.linspace(0.0, 1.0, 52, dtype=np.float32)
    with VmcSink(performer.address) as sink:
        sink.write(frame(), [head(blendshapes=shapes)])
        messages = performer.hear()
    assert messages[0] == ("/VMC/Ext/Tra/Pos", ("mien", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    assert messages[-1] == ("/VMC/Ext/Blend/Apply", ())
    values = messages[1:-1]
    assert [address for address, _ in values] == ["/VMC/Ext/Blend/Val"] * 52
    assert {given[0]: given[1] for _, given in values} == pytest.approx(
        {name[0].upper() + name[1:]: shapes[i] for i, name in enumerate(BLENDSHAPE_NAMES)}
    )
    assert "BrowInnerUp" in {given[0] for _, given in values}


# In Unity's frame an avatar that looks along z has its left at -x; a head's up is y.
@pytest.mark.parametrize(
    ("pose", "nose", "crown"),
    [
        ({"yaw": -30.0}, (-0.5, 0.0, math.sqrt(0.75)), (0.0, 1.0, 0.0)),  # to the subject's left
        ({"yaw": 30.0}, (0.5, 0.0, math.sqrt(0.75)), (0.0, 1.0, 0.0)),  # to their right
        ({"pitch": 30.0}, (0.0, 0.5, math.sqrt(0.75)), (0.0, math.sqrt(0.75), -0.5)),  # up
        ({"roll": 30.0}, (0.0, 0.0, 1.0), (-0.5, math.sqrt(0.75), 0.0)),  # to the left shoulder
    ],
)
def test_vmc_turns_an_avatar_as_the_subject_turns(
    performer: Performer,
    head: Maker,
    pose: dict[str, float],
    nose: tuple[float, float, float],
    crown: tuple[float, float, float],
) -> None:
    with VmcSink(performer.address) as sink:
        sink.write(frame(), [head(**pose)])
        _, (_, *numbers) = performer.hear()[0]
    quat_xyzw = tuple(numbers[3:])
    np.testing.assert_allclose(turn_unity(quat_xyzw, (0, 0, 1)), nose, atol=1e-6)
    np.testing.assert_allclose(turn_unity(quat_xyzw, (0, 1, 0)), crown, atol=1e-6)


def test_vmc_moves_an_avatar_as_the_subject_moves(performer: Performer, head: Maker) -> None:
    with VmcSink(performer.address) as sink:
        sink.write(frame(), [head()])
        performer.hear()
        # 100 mm to the picture's right (the subject's left), 200 mm up, 50 mm nearer.
        sink.write(frame(1), [head(place_mm=(100.0, -200.0, 550.0))])
        _, (_, *numbers) = performer.hear()[0]
    assert numbers[:3] == pytest.approx([-0.1, 0.2, 0.05])


def test_vmc_in_a_mirror_turns_the_other_way_and_winks_the_other_eye(
    performer: Performer, head: Maker
) -> None:
    row = head(-30.0, blendshapes=blendshapes(eyeBlinkLeft=1.0))
    with VmcSink(performer.address, Neutral(mirror=True)) as sink:
        sink.write(frame(), [row])
        messages = performer.hear()
    nose = turn_unity(messages[0][1][4:], (0, 0, 1))
    assert nose[0] == pytest.approx(0.5)
    values = {given[0]: given[1] for _, given in messages[1:-1]}
    assert (values["EyeBlinkLeft"], values["EyeBlinkRight"]) == (0.0, 1.0)


def test_vmc_as_a_performer_moves_the_bone_and_spells_as_arkit(
    performer: Performer, head: Maker
) -> None:
    with VmcSink(performer.address, role="performer", names="arkit") as sink:
        sink.write(frame(), [head()])
        performer.hear()
        sink.write(frame(30), [head(-30.0)])
        messages = dict(performer.hear())
    assert messages["/VMC/Ext/OK"] == (1,)
    assert messages["/VMC/Ext/T"] == pytest.approx((1.0,))
    assert messages["/VMC/Ext/Root/Pos"] == ("root", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    name, *numbers = messages["/VMC/Ext/Bone/Pos"]
    assert name == "Head"
    assert numbers[:3] == [0.0, 0.0, 0.0]
    assert turn_unity(tuple(numbers[3:]), (0, 0, 1))[0] == pytest.approx(-0.5)
    assert messages["/VMC/Ext/Blend/Val"][0] == "tongueOut"
    assert messages["/VMC/Ext/Blend/Apply"] == ()


def test_vmc_without_blendshapes_is_the_head_alone(performer: Performer, head: Maker) -> None:
    with VmcSink(performer.address) as sink:
        sink.write(frame(), [head(blendshapes=None)])
        assert [address for address, _ in performer.hear()] == ["/VMC/Ext/Tra/Pos"]


# Spellings


def test_the_spellings_are_those_of_the_programs() -> None:
    by_name = {spelling.arkit: spelling for spelling in SPELLINGS}
    assert tuple(by_name) == BLENDSHAPE_NAMES
    assert by_name["mouthSmileRight"][1:] == ("MouthSmileRight", "mouthSmile_R")
    assert by_name["eyeLookInLeft"][1:] == ("EyeLookInLeft", "eyeLookIn_L")
    assert by_name["jawLeft"][1:] == ("JawLeft", "jawLeft")
    assert by_name["mouthRight"][1:] == ("MouthRight", "mouthRight")
    assert by_name["browInnerUp"][1:] == ("BrowInnerUp", "browInnerUp")
    for column in zip(*SPELLINGS, strict=True):
        assert len(set(column)) == 52
    assert sorted(LIVE_LINK_ORDER) == sorted(spelling.perfect_sync for spelling in SPELLINGS)


def test_eyes_that_look_to_one_side_agree() -> None:
    left, right = eye_angles(blendshapes(eyeLookOutRight=0.5, eyeLookInLeft=0.5))
    assert left == right
    assert left.right > 0
    crossed = eye_angles(blendshapes(eyeLookInRight=0.5, eyeLookInLeft=0.5))
    assert crossed[0].right > 0 > crossed[1].right
