"""Names of the Cell Tracking Challenge."""

from __future__ import annotations

from pathlib import Path

import pytest

from unet2015.labelfiles.ctcnames import find_image, is_sequence, mask_name, sequence_frames


def test_frames_are_found_in_temporal_order_in_any_spelling(tmp_path: Path) -> None:
    names = ["t003.tif", "T002.tif", "t1000.tif", "t001.tiff", "t0.tif", "t04.tif", "t005.png"]
    for name in names:
        (tmp_path / name).touch()
    frames = sequence_frames(tmp_path)
    assert list(frames) == [1, 2, 3, 1000]
    assert [path.name for path in frames.values()] == [names[n] for n in (3, 1, 0, 2)]


@pytest.mark.parametrize(("name", "found"), [("T000.TIF", True), ("t00.tif", False)])
def test_one_frame_makes_a_sequence(tmp_path: Path, name: str, found: bool) -> None:
    (tmp_path / name).touch()
    assert is_sequence(tmp_path) == found


def test_frames_belong_to_masks_of_the_same_number(tmp_path: Path) -> None:
    (tmp_path / "t0007.tif").touch()
    assert find_image(tmp_path, "007") == tmp_path / "t0007.tif"
    assert find_image(tmp_path, "008") is None
    assert mask_name("t0007") == "007"
    assert mask_name("t1234") == "1234"
    assert mask_name("a007") == "a007"
