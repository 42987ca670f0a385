"""Track files: what is read, and one sentence for each broken rule."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unet2015.errors import InputError
from unet2015.labelfiles.trackfile import check_masks, forget_tracks, read_tracks, write_tracks


def test_tracks_survive_a_round_trip(tmp_path):
    tracks = np.array([[1, 0, 3, 0], [2, 4, 5, 1], [7, 4, 4, 1]])
    write_tracks(tmp_path / "res_track.txt", tracks)
    assert (tmp_path / "res_track.txt").read_text() == "1 0 3 0\n2 4 5 1\n7 4 4 1\n"
    np.testing.assert_array_equal(read_tracks(tmp_path / "res_track.txt"), tracks)


def test_tabs_and_blank_lines_are_accepted(tmp_path):
    (tmp_path / "t.txt").write_text("1\t0\t3\t0\r\n\n 999999999  1 1 0\n")
    assert read_tracks(tmp_path / "t.txt").tolist() == [[1, 0, 3, 0], [999_999_999, 1, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a result needs at least one track"),
        ("\n \n", "is empty"),
        ("1 0 3\n", "line 1: '1 0 3' is not a track: give four whole numbers"),
        ("1 0 3 0\n2 x 3 0\n", "line 2: '2 x 3 0' is not a track"),
        ("1 0 12345678901234567890123 0\n", "is not a track: give four whole numbers below"),
        ("1 0 3 0 7\n", "line 1: '1 0 3 0 7' is not a track"),
        ("1 0 3 -1\n", "line 1: '1 0 3 -1' is not a track"),
        ("1 0 3 ²\n", "is not a track"),
        ("0 0 3 0\n", "track 0 is background"),
        ("1 0 3 0\n1 4 5 0\n", "track 1 is on two lines"),
        ("1 4 3 0\n", "track 1 ends in frame 3, before it begins in frame 4"),
        ("1 0 3 9\n", "track 1 has the parent 9, which is not a track"),
        ("1 0 3 0\n2 3 5 1\n", "a parent must end before its daughters begin"),
        ("1 0 3 1\n", "track 1 begins in frame 0, but its parent 1 ends in frame 3"),
    ],
)
def test_broken_files_get_one_sentence(tmp_path, text, message):
    path = tmp_path / "res_track.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_tracks(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_replaced_mask_makes_the_tracks_beside_it_obsolete(tmp_path):
    tracks = tmp_path / "res_track.txt"
    tracks.write_text("1 0 3 0\n")
    forget_tracks(tmp_path / "other.tif")
    assert tracks.exists()
    for _ in range(2):
        forget_tracks(tmp_path / "mask000.tif")
        assert not tracks.exists()


def test_a_missing_file_gets_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist: `unet2015 track` writes"):
        read_tracks(tmp_path / "res_track.txt")


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        ([[1, 0, 2, 0], [2, 1, 1, 0]], "track 1 ends in frame 2, but the last frame is 1"),
        ([[1, 0, 1, 0], [2, 0, 1, 0]], "track 2 should be in frame 0, but its mask does not hold"),
        ([[1, 0, 1, 0]], "mask of frame 1 holds the label 2, which has no track there"),
    ],
)
def test_masks_must_match_the_tracks(tracks, message):
    with pytest.raises(InputError, match=message):
        check_masks("res_track.txt", np.array(tracks), [np.array([1]), np.array([1, 2])])
