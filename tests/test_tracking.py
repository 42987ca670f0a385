"""The overlap tracker on arrays: hand-made sequences, and rules that every output obeys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from unet2015 import tracking
from unet2015.errors import InputError
from unet2015.labelfiles.trackfile import check_masks, read_tracks, write_tracks
from unet2015.tracking import Tracker, TrackingConfig


def row(text):
    """Draw a frame of one row: digits are cells."""
    return np.array([[int(character) if character.isdigit() else 0 for character in text]])


def track(frames, config=None):
    """Link all frames; return the masks and the tracks."""
    tracker = Tracker(config)
    return [tracker.link(frame) for frame in frames], tracker.tracks


def tracked(*frames, **settings):
    masks, tracks = track([row(frame) for frame in frames], TrackingConfig(**settings))
    drawn = ["".join(str(label) if label else "." for label in mask[0]) for mask in masks]
    return drawn, tracks.tolist()


def test_cells_keep_their_numbers_when_the_labels_change():
    masks, tracks = tracked("11.22.", "99.44.", ".7.88.")
    assert masks == ["11.22.", "11.22.", ".1.22."]
    assert tracks == [[1, 0, 2, 0], [2, 0, 2, 0]]


def test_the_larger_overlap_wins():
    # Both objects of frame 1 lie on cell 1: the larger overlap continues it, and the other object
    # is too small for a daughter.
    masks, tracks = tracked("11111111.", "44444.5..", min_daughter=0.5)
    assert masks[1] == "11111.2.."
    assert tracks == [[1, 0, 1, 0], [2, 1, 1, 0]]


def test_a_cell_divides_into_two_of_similar_size():
    masks, tracks = tracked("111111", "44.555", "66.777")
    assert masks == ["111111", "22.333", "22.333"] or masks == ["111111", "33.222", "33.222"]
    assert tracks == [[1, 0, 0, 0], [2, 1, 2, 1], [3, 1, 2, 1]]


def test_a_cell_that_appears_beside_another_is_new():
    masks, tracks = tracked("1111....", "1111.222")
    assert masks[1] == "1111.222"
    assert tracks == [[1, 0, 1, 0], [2, 1, 1, 0]]


def test_only_two_daughters_share_a_mother():
    _, tracks = tracked("11111111", "44.55.66")
    assert sorted(parent for *_, parent in tracks) == [0, 0, 1, 1]


def test_the_object_that_lies_most_in_a_cell_is_its_daughter():
    # Object 6, half of which lies in cell 1, comes after object 5, all of which does.
    masks, tracks = tracked("11111111..", "4444556666")
    assert masks[1] == "2222334444"
    assert tracks == [[1, 0, 0, 0], [2, 1, 1, 1], [3, 1, 1, 1], [4, 1, 1, 0]]


def test_a_daughter_has_one_mother():
    masks, tracks = tracked("11112222", "33.44.55")  # object 4 lies on both cells
    assert masks[1] == "33.44.22"
    assert tracks == [[1, 0, 0, 0], [2, 0, 1, 0], [3, 1, 1, 1], [4, 1, 1, 1]]


@pytest.mark.parametrize(
    ("daughters", "settings"),
    [("22.33.", {"division_overlap": 0.5}), ("22.3..", {"min_daughter": 0.5})],
)
def test_exactly_the_least_share_suffices_for_a_division(daughters, settings):
    assert tracked("1111..", daughters, **settings)[1][0] == [1, 0, 0, 0]
    just_more = {name: value + 0.01 for name, value in settings.items()}
    assert tracked("1111..", daughters, **just_more)[1][0] == [1, 0, 1, 0]


def test_a_lost_cell_is_not_kept_from_a_new_object_by_one_that_continues():
    # In frames 1 and 2, cell 2 covers most of where cell 1 was.
    frames = "111112222222", ".22222222222", "322222222222"
    _, tracks = tracked(*frames)
    assert tracks == [[1, 0, 0, 0], [2, 0, 2, 0], [3, 2, 2, 1]]


def test_the_last_of_two_lost_cells_is_found_where_both_were():
    _, tracks = tracked("1111..........", "...22222222222", "..............", "...33.........")
    assert tracks == [[1, 0, 0, 0], [2, 1, 1, 0], [3, 3, 3, 2]]


@pytest.mark.parametrize(("gap", "parent"), [(1, 1), (2, 1), (3, 0)])
def test_a_lost_cell_is_found_again_after_a_short_gap(gap, parent):
    empty = ["22....."] * gap
    masks, tracks = tracked("22.111.", *empty, "22.111.", max_gap=2)
    assert tracks == [[1, 0, 0, 0], [2, 0, gap + 1, 0], [3, gap + 1, gap + 1, parent]]
    assert masks[-1] == "22.333."


def test_without_gaps_lost_cells_are_not_found_again():
    _, tracks = tracked("111", "...", "111", max_gap=0)
    assert tracks == [[1, 0, 0, 0], [2, 2, 2, 0]]


def test_a_cell_merged_for_one_frame_is_found_again_not_a_daughter():
    # Cell 1 takes the pixels of cell 2 for one frame.
    masks, tracks = tracked("111222", "111111", "111222")
    assert masks == ["111222", "111111", "111333"]
    assert tracks == [[1, 0, 2, 0], [2, 0, 0, 0], [3, 2, 2, 2]]


def test_a_mother_is_not_found_again():
    # Object 5 lies where the mother was, between her daughters.
    _, tracks = tracked("1111111...", "22....33..", "22.55.33..")
    assert tracks == [[1, 0, 0, 0], [2, 1, 2, 1], [3, 1, 2, 1], [4, 2, 2, 0]]


@pytest.mark.parametrize(("length", "links"), [(10, True), (11, False)])
def test_too_small_an_overlap_is_not_linked(length, links):
    _, tracks = tracked("1" * length, "1" + "." * (length - 1))
    assert len(tracks) == (1 if links else 2)


def test_empty_sequences_and_frames_are_tracked():
    assert tracked()[1] == []
    assert tracked("...", "...")[1] == []
    assert tracked("...", "11.", "...")[1] == [[1, 1, 1, 0]]


def test_large_labels_do_not_need_large_memory():
    frame = np.array([[0, 2**32 - 1, 2**32 - 1, 5]], np.uint32)
    masks, tracks = track([frame, frame])
    assert masks[1].tolist() == [[0, 2, 2, 1]]
    assert len(tracks) == 2


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 6), st.just(5), st.just(6)), elements=st.integers(0, 4)
    )
)
@settings(max_examples=150)
def test_every_output_obeys_the_format_and_keeps_the_objects(tmp_path_factory, frames):
    masks, tracks = track(frames)
    for frame, mask in zip(frames, masks, strict=True):
        # Objects and numbers match one to one, on the same pixels.
        pairs = set(zip(frame.flat, mask.flat, strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert_array_equal(frame > 0, mask > 0)
    if len(tracks):
        path = tmp_path_factory.getbasetemp() / "res_track.txt"
        write_tracks(path, tracks)
        assert_array_equal(read_tracks(path), tracks)
        check_masks(path, tracks, [np.setdiff1d(mask, [0]) for mask in masks])


def test_frames_of_different_sizes_are_refused():
    with pytest.raises(InputError, match=r"frame 1 has shape \(1, 4\), the frames before \(1, 3\)"):
        tracked("111", "1111")


def test_a_refused_frame_does_not_count():
    tracker, frame = Tracker(), np.array([[1, 1, 0, 2]])
    with pytest.raises(InputError):
        tracker.link(-frame)
    tracker.link(frame)
    with pytest.raises(InputError):
        tracker.link(frame[:, 1:])
    tracker.link(frame)
    assert tracker.tracks.tolist() == [[1, 0, 1, 0], [2, 0, 1, 0]]


def test_more_tracks_than_16_bits_hold_are_refused(monkeypatch):
    assert np.iinfo(np.uint16).max == tracking.LARGEST_TRACK
    monkeypatch.setattr(tracking, "LARGEST_TRACK", 3)
    tracker = Tracker()
    tracker.link(row("1.2.3"))
    with pytest.raises(InputError, match="more than 3 tracks"):
        tracker.link(row(".4..."))


@pytest.mark.parametrize(
    "settings",
    [
        {"min_overlap": 0},
        {"min_overlap": 1.5},
        {"division_overlap": -1},
        {"min_daughter": 2},
        {"max_gap": -1},
    ],
)
def test_invalid_settings_are_refused(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))} is"):
        Tracker(TrackingConfig(**settings))


def test_shares_of_1_are_valid_and_the_defaults_are_documented():
    whole = TrackingConfig(min_overlap=1, max_gap=0, division_overlap=1, min_daughter=1)
    assert Tracker(whole).config == whole
    assert Tracker().config == TrackingConfig(
        min_overlap=0.1, max_gap=2, division_overlap=0.3, min_daughter=0.3
    )
