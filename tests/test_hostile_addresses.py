"""Addresses with secrets in odd places, and files that are lists of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mien.models.errors import SourceError
from mien.stream.sources import SourceOptions, open_source
from mien.stream.sources.addresses import without_secrets

_DEMO = Path(__file__).parents[1] / "tools/data/demo.mp4"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://h/user=admin_password=hunter2_channel=1", "rtsp://h/user=admin_password=***"),
        ("http://h/v?loginuse=me&loginpas=hunter2&a=1", "http://h/v?loginuse=me&loginpas=***&a=1"),
        ("http://h/v?usr=a&psw=hunter2", "http://h/v?usr=a&psw=***"),
        ("http://h/v?user=a&PW=hunter2", "http://h/v?user=a&PW=***"),
        ("http://h/v?a=1;password=hunter2", "http://h/v?a=1;password=***"),
        ("http://h/v#access_token=hunter2", "http://h/v#access_token=***"),
        ("http://h/v?a=b?token=hunter2", "http://h/v?a=b?token=***"),
        ("http://h/v?x=1&to%6ben=hunter2", "http://h/v?x=1&to***"),
        ("http://h/v?to%256ben=hunter2", "http://h/v?to***"),
        ("http://h/v?token%3dhunter2", "http://h/v?token***"),
        ("http://h/v?u=rtsp%3A%2F%2Fme%3Ahunter2%40h", "http://h/v?u=***"),
        ("srt://h?streamid=#!::u=a,password=hunter2", "srt://h?streamid=***#!::u=a,password=***"),
        ("srt://h?streamid=read:a:me:hunter2&mode=caller", "srt://h?streamid=***&mode=caller"),
        ("ftp://me:hunter2@h/f.mp4", "ftp://h/f.mp4"),
        (" rtps://me:hunter2@h/x", " rtps://h/x"),
        ("rtsp://me:hunt#er2@h/x", "rtsp://h/x"),
        ("rtsp://me:hunt/er2?@h/x", "rtsp://h/x"),
        ("rtmp://h:1935/app/hunter2", "rtmp://h:1935/app/***"),
        ("RTMPS://me:hunter2@h/app/hunter2?x=1", "RTMPS://h/app/***"),
        ("rtmp://h/app live=1 pubUser=hunter2", "rtmp://h/app/***"),
        ("lavfi:movie=rtsp\\\\://me:hunter2@h/x", "lavfi:movie=rtsp\\\\://h/x"),
    ],
)
def test_secrets_in_odd_places_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://[::1]:554/a@b", "rtsp://h:554/a@b", "http://h/a%20b?x=1%202&y=2", "rtmp://h/app",
        "udp://239.0.0.1:5000", "film?token=1.mp4", "me@home: a=b.mp4",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown(url: str) -> None:
    assert without_secrets(url) == url


@pytest.mark.parametrize("part", ["://a:b", "pas", "a=", "%25", "[:@", "@://a:", "pas=", "%3d%70"])
def test_long_addresses_take_no_time(part: str) -> None:
    without_secrets("h://@" + part * (100_000 // len(part)))  # minutes, where it is quadratic


@pytest.mark.parametrize(
    "spec", ["ftp://me:hunter2@h/f", "rtps://me:hunter2@h/f", " rtsp://me:hunter2@h/f"]
)
def test_an_address_that_cannot_be_read_is_not_echoed(spec: str) -> None:
    with pytest.raises(SourceError, match="no address of rtsp, rtmp, http") as caught:
        open_source(spec)
    assert "hunter2" not in str(caught.value)


def test_a_filter_graph_is_not_echoed() -> None:
    with pytest.raises(SourceError, match="lavfi:movie=") as caught:
        open_source("lavfi:movie=gone\\\\://me:hunter2@h/f")
    assert "hunter2" not in str(caught.value)


_M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nseg.ts\n"
_LISTS = {
    "live.m3u8": _M3U8,
    "whole.m3u8": _M3U8 + "#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile demo.mp4\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", _LISTS)
def test_a_file_that_lists_others_is_refused(name: str, tmp_path: Path) -> None:
    shutil.copy(_DEMO, tmp_path / "demo.mp4")
    (tmp_path / name).write_text(_LISTS[name])
    with pytest.raises(SourceError, match=r"lists of other files .* are not followed") as caught:
        open_source(tmp_path / name, SourceOptions())  # the live one was read for ever
    assert "\n" not in str(caught.value)
    with open_source(tmp_path / "demo.mp4") as source:
        assert source.info.codec


def test_a_damaged_film_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W-1 H-1\n")
    with pytest.raises(SourceError, match=r"a\.y4m") as caught:
        open_source(tmp_path / "a.y4m")
    assert "lists" not in str(caught.value)
