"""Arrays out of pickles: whatever NumPy writes is read, and whatever else is asked is refused."""

from __future__ import annotations

import builtins
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.tddfa.pickles import read_array, read_arrays

RNG = np.random.default_rng(0)
ARRAYS = {
    "double": RNG.normal(size=(30, 4)),
    "transposed": RNG.normal(size=(30, 4)).astype(np.float32).T,
    "fortran": np.asfortranarray(RNG.normal(size=(3, 5))),
    "integers": np.arange(10),
    "big-endian": np.arange(10).astype(">i4"),
    "flags": np.array([True, False]),
    "scalar": np.float32(3.5),
}


class Asks:
    """An object whose pickle calls what it is told to."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def into(data: bytes) -> Path:
        (tmp_path / "file.pkl").write_bytes(data)
        return tmp_path / "file.pkl"

    return into


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_what_numpy_writes_is_read(
    write: Callable[[bytes], Path], name: str, protocol: int
) -> None:
    array = ARRAYS[name]
    read = read_array(write(pickle.dumps(array, protocol)))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.asarray(array).dtype.newbyteorder("=")
    mixed = OrderedDict(a=array, b=[1, (2, "x")], c=None, d={"e": 1.5})
    np.testing.assert_array_equal(
        read_arrays(write(pickle.dumps(mixed, protocol)), ("a",))["a"], array
    )


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_both_places_of_numpys_core(write: Callable[[bytes], Path], core: bytes) -> None:
    data = pickle.dumps(ARRAYS["double"], 2)  # names as lines of text, of any length
    assert b"numpy._core.multiarray\n_reconstruct\n" in data
    path = write(data.replace(b"numpy._core", core))
    np.testing.assert_array_equal(read_array(path), ARRAYS["double"])


HOSTILE = {
    "a command": (Asks(os.system, ("touch ran",)), "posix.system"),
    "eval": (Asks(builtins.eval, ("open('ran', 'w')",)), "builtins.eval"),
    "a nested call": ({"a": [Asks(Asks, (os.system, ("touch ran",)))]}, "asks for"),
    "a call of what a call gave": (Asks(getattr, (np.ndarray, "tofile")), "builtins.getattr"),
    "objects in an array": (np.array([1, Asks(os.system, ("touch ran",))], object), "objects"),
    "records": (np.zeros(3, [("a", "f4")]), "expected one of numbers"),
    "texts": (np.array(["a"]), "expected one of numbers"),
    "another array class": (np.ma.array([1.0]), "numpy.ma"),
    "a huge array": (Asks(np.ndarray, ((10**12,),)), "a size that it names"),
    "huge zeros": (Asks(np.zeros, ((10**12,),)), "numpy.zeros"),
    "a memory map": (Asks(np.memmap, ("ran", "f4", "w+", 0, (9,))), "memmap"),
    "a changed array": (Asks(np.array, ([1],), {"a": 1}), "numpy.array"),
    "a list": ([ARRAYS["double"]], "expected a"),
    "a number": (3, "expected a"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_rest_is_refused_in_one_line_and_nothing_runs(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content, reason = HOSTILE[name]
    path = write(pickle.dumps(content))
    monkeypatch.chdir(path.parent)
    for read in (read_array, lambda place: read_arrays(place, ("a",))):
        with pytest.raises(InputError, match=r"file\.pkl") as caught:
            read(path)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (path.parent / "ran").exists()


def reconstructed(shape: bytes, kind: bytes = b"f8", raw: bytes = b"C\x08" + bytes(8)) -> bytes:
    """An array's pickle by hand: its state may say anything."""
    begin = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    dtype = b"cnumpy\ndtype\n(X" + bytes([len(kind), 0, 0, 0]) + kind + b"\x89\x88tR"
    return begin + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb."


def test_the_pickle_by_hand_is_a_good_one(write: Callable[[bytes], Path]) -> None:
    assert read_array(write(reconstructed(b"K\x01\x85"))).tolist() == [0.0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        b"\x80\x04.",
        pickle.dumps(ARRAYS["double"])[:-40],
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo of 2^31 places
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # 2^60 bytes
        b"(" * 200_000 + b".",
        b"\x80\x02" + b"]" + b"\x85" * 100_000 + b".",  # nested a hundred thousand deep
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # an instance by its class
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",  # a changed function
        b"Pname\n.",
        reconstructed(b"J\xff\xff\xff\x7f\x85"),  # more than its bytes hold
        reconstructed(b"J\xff\xff\xff\xff\x85"),  # -1
        reconstructed(b"(K\x01K\x01K\x01K\x01K\x01t"),
        reconstructed(b"K\x01\x85", b"O8"),
        reconstructed(b"K\x01\x85", b"V8"),
        reconstructed(b"K\x01\x85", b"f16"),
        reconstructed(b"K\x01\x85", raw=b"]"),
        reconstructed(b"K\x01\x85", raw=b"N"),
    ],
)
def test_damage_is_told_in_one_line(write: Callable[[bytes], Path], data: bytes) -> None:
    with pytest.raises(InputError, match=r"file\.pkl: (not read|holds)") as caught:
        read_array(write(data))
    assert "\n" not in str(caught.value)


def test_missing_and_too_large_files(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_array(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="has no array 'a'; it has 'b'"):
        read_arrays(write(pickle.dumps({"b": ARRAYS["double"]})), ("a",))
    monkeypatch.setattr("mien.models.tddfa.pickles.MOST_BYTES", 100)
    with pytest.raises(InputError, match="larger than"):
        read_array(write(pickle.dumps(ARRAYS["double"])))


def frame(size: int) -> bytes:
    """The step that begins a frame."""
    return b"\x95" + size.to_bytes(8, "little")


@pytest.mark.parametrize(
    "program",
    [
        frame(12) + b"N0" + frame(12) + b"N." + bytes(10),  # begins another half-way
        frame(4) + b"N0U\x05abcde.",  # its last step's text goes on behind it
    ],
)
def test_steps_that_leave_their_frame(write: Callable[[bytes], Path], program: bytes) -> None:
    # Python's reader in C drops the rest of such a frame: what it runs was not looked at.
    with pytest.raises(InputError, match="leaves its frame"):
        read_array(write(b"\x80\x04" + program))


def test_values_that_are_filled_from_the_top_down(write: Callable[[bytes], Path]) -> None:
    # Lists, each twice in the one before, that are empty while they are placed: 2^26 in the first.
    lists = b"".join(b"]q%c" % k for k in range(27))
    filled = b"".join(b"h%c(h%ch%ce" % (k, k + 1, k + 1) for k in range(26))
    with pytest.raises(InputError, match="fills what stands in another"):
        read_array(write(b"\x80\x02" + lists + filled + b"."))


@pytest.mark.parametrize("end", [b"}2Ns.", b"."])
def test_values_that_stand_in_themselves_over_and_over(
    write: Callable[[bytes], Path], end: bytes
) -> None:
    # A tuple of the last value twice, forty times: to hash or to print it takes hours.
    with pytest.raises(InputError, match="over and over"):
        read_array(write(b"\x80\x02)" + b"2\x86" * 40 + end))
