"""The names of devices: what each means where there is a graphics card, and where there is none."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mien.models.errors import InputError  # noqa: E402
from mien.models.learning.device import find_device  # noqa: E402


@pytest.mark.parametrize(
    ("name", "there", "kind"),
    [
        (None, False, "cpu"), (None, True, "cuda"), ("auto", False, "cpu"), ("auto", True, "cuda"),
        ("cpu", True, "cpu"), ("cuda", True, "cuda"),
    ],
)  # fmt: skip
def test_a_name_means_a_device(
    monkeypatch: pytest.MonkeyPatch, name: str | None, there: bool, kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert find_device(name).type == kind


def test_what_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, message in (("cuda", "no such device here; expected auto or cpu"),
                          ("tpu", "no device 'tpu': expected auto, cpu or cuda")):  # fmt: skip
        with pytest.raises(InputError, match=message) as caught:
            find_device(name)
        assert "\n" not in str(caught.value)
