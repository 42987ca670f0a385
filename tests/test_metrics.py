"""Measures of cells and lineages: values by hand, naive implementations, and py-ctcmetrics."""

from __future__ import annotations

import doctest
import importlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from unet2015.errors import InputError
from unet2015.evaluation.sequence import score_frame
from unet2015.metrics import (
    IOU_THRESHOLDS,
    GraphErrors,
    add_counts,
    average_precision,
    compare_lineages,
    count_matches,
    det,
    find_mistakes,
    foreground_iou,
    objects_without_truth,
    overlap_table,
    panoptic_quality,
    seg_score,
    sequence_seg,
    tra,
    without_objects,
)

# Two cells of 6 and 8 pixels and one of 2, nothing touching the left column.
CELLS = np.array(
    [
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 3, 3, 0, 2, 2],
    ]
)

label_images = hnp.arrays(np.uint16, (6, 7), elements=st.integers(0, 5))


def literal_seg(reference, segmented):
    """SEG, literally as the challenge defines it."""
    values = {}
    for cell in set(reference.flat) - {0}:
        r = reference == cell
        values[int(cell)] = 0.0
        for label in set(segmented.flat) - {0}:
            s = segmented == label
            if (r & s).sum() > 0.5 * r.sum():
                values[int(cell)] = (r & s).sum() / (r | s).sum()
    return values


# --- SEG -----------------------------------------------------------------------------------------


def test_the_reference_scores_one_against_itself():
    score = seg_score(CELLS, CELLS)
    assert score.mean == 1
    assert_array_equal(score.labels, [1, 2, 3])
    assert_array_equal(score.matched, [1, 2, 3])


def test_an_empty_result_scores_zero():
    score = seg_score(CELLS, np.zeros_like(CELLS))
    assert score.mean == 0
    assert_array_equal(score.matched, 0)


def test_object_numbers_do_not_matter():
    assert seg_score(CELLS, np.array([0, 9, 4, 7])[CELLS]).mean == 1


def test_a_dropped_cell_counts_zero():
    assert_allclose(seg_score(CELLS, np.where(CELLS == 2, 0, CELLS)).mean, 2 / 3)


def test_merged_cells_share_the_union():
    # One object of 14 pixels holds the cells of 6 and 8.
    score = seg_score(CELLS, np.where(CELLS == 2, 1, CELLS))
    assert_allclose(score.values, [6 / 14, 8 / 14, 1])


def test_a_shift_by_one_pixel_gives_the_hand_computed_value():
    # To the right: cell 1 keeps 4 of 6 (union 8), cell 2 keeps 5 of 8 and its object loses the 3
    # pixels that leave the image (5 pixels, union 8), cell 3 keeps 1 of 2, which is no majority.
    shifted = np.zeros_like(CELLS)
    shifted[:, 1:] = CELLS[:, :-1]
    assert_allclose(seg_score(CELLS, shifted).values, [4 / 8, 5 / 8, 0])


def test_an_object_on_exactly_half_a_cell_does_not_match():
    assert seg_score([[1, 1, 1, 1]], [[2, 2, 0, 0]]).mean == 0
    assert seg_score([[1, 1, 1, 1]], [[2, 2, 2, 0]]).mean == 0.75


def test_spurious_objects_do_not_lower_seg():
    assert seg_score([[1, 1, 0, 0]], [[1, 1, 0, 5]]).mean == 1


def test_a_frame_without_cells_has_no_score():
    score = seg_score(np.zeros((3, 3), int), np.eye(3, dtype=int))
    assert np.isnan(score.mean)
    assert score.values.size == 0


def test_sequence_seg_is_the_mean_over_cells_not_frames():
    one = seg_score([[1, 0, 0]], [[1, 0, 0]])
    three = seg_score([[1, 2, 3]], [[0, 0, 0]])
    empty = seg_score([[0, 0, 0]], [[1, 0, 0]])
    assert sequence_seg([one, three, empty]) == 0.25
    assert np.isnan(sequence_seg([empty]))
    assert np.isnan(sequence_seg([]))


@given(label_images, label_images)
def test_seg_equals_the_literal_double_loop(reference, segmented):
    score = seg_score(reference, segmented)
    expected = literal_seg(reference, segmented)
    assert dict(zip(score.labels.tolist(), score.values.tolist(), strict=True)) == expected


@given(label_images, label_images)
@settings(max_examples=25)
def test_seg_equals_py_ctcmetrics(reference, segmented):
    representations = pytest.importorskip("ctc_metrics.utils.representations")
    seg = pytest.importorskip("ctc_metrics.metrics").seg
    # Version 1.3.3 loses a label if an image has no background.
    reference[0, 0] = segmented[0, 0] = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("man_seg000.tif", "mask000.tif")]
        for path, image in zip(paths, (reference, segmented), strict=True):
            tifffile.imwrite(path, image)
        labels, _, _, _, iou = representations.match(*paths)
    score = seg_score(reference, segmented)
    assert_allclose(np.nan_to_num(score.mean), seg([labels], [iou]), atol=1e-12)


# --- Overlap table -------------------------------------------------------------------------------


@given(label_images, label_images, st.integers(0, 2))
def test_the_overlap_table_equals_counting_pixels(reference, segmented, margin):
    table = overlap_table(reference, segmented, margin)
    height, width = reference.shape
    inside = np.s_[margin : height - margin, margin : width - margin]
    reference, segmented = (
        np.where(np.isin(image, image[inside]), image, 0) for image in (reference, segmented)
    )
    for image, labels, areas in (
        (reference, table.reference_labels, table.reference_areas),
        (segmented, table.result_labels, table.result_areas),
    ):
        assert labels.tolist() == sorted(set(image.flat) - {0})
        assert areas.tolist() == [(image == label).sum() for label in labels]
    pairs = {
        (int(table.reference_labels[r]), int(table.result_labels[s])): int(n)
        for r, s, n in zip(table.reference_index, table.result_index, table.shared, strict=True)
    }
    expected = {
        (int(a), int(b)): int(((reference == a) & (segmented == b)).sum())
        for a in table.reference_labels
        for b in table.result_labels
    }
    assert pairs == {pair: n for pair, n in expected.items() if n}


def test_the_largest_labels_and_images_without_background():
    largest = np.uint32(2**32 - 1)
    score = seg_score(np.full((2, 2), largest), np.full((2, 2), largest - 1))
    assert score.mean == 1
    assert score.labels.tolist() == [2**32 - 1]
    assert score.matched.tolist() == [2**32 - 2]


def test_the_margin_drops_cells_wholly_inside_it():
    cells = np.zeros((6, 6), int)
    cells[0, :3] = 1  # wholly in a margin of 1
    cells[3:, 3:] = 2  # reaches into it
    assert seg_score(cells, np.zeros_like(cells), margin=1).labels.tolist() == [2]
    # The object that holds most of cell 2 lies wholly in the margin of 2; cell 2 does not.
    cells = np.zeros((6, 6), int)
    cells[:2, 2:5] = 2
    cells[2, 2] = 2
    found = np.where(cells == 2, 3, 0)
    found[2:] = 0
    assert seg_score(cells, found).mean == 6 / 7
    assert seg_score(cells, found, margin=2).mean == 0


@pytest.mark.parametrize(
    ("margin", "why"),
    [
        (-1, "is -1 pixels: it must be at least 0"),
        (3, "of 3 pixels leaves no field"),
        (50, "of 50 pixels leaves no field"),
    ],
)
def test_an_invalid_margin_is_refused(margin, why):
    with pytest.raises(InputError, match=f"margin {why}"):
        seg_score(np.ones((6, 9), int), np.ones((6, 9), int), margin=margin)


def test_bad_arrays_are_refused():
    with pytest.raises(InputError, match="shape 2x2 and the result 2x3"):
        seg_score(np.ones((2, 2), int), np.ones((2, 3), int))
    with pytest.raises(InputError, match="the result: labels hold fractions"):
        seg_score(np.ones((2, 2), int), np.full((2, 2), 0.5))
    with pytest.raises(InputError, match="the reference: labels hold the negative value -1"):
        seg_score(np.full((2, 2), -1), np.ones((2, 2), int))
    with pytest.raises(InputError, match="holds the label 4294967296"):
        seg_score(np.full((2, 2), 2**32), np.ones((2, 2), int))


# --- AP, panoptic quality, foreground IoU --------------------------------------------------------


def test_a_perfect_result_has_perfect_scores():
    counts = count_matches(overlap_table(CELLS, CELLS))
    assert_array_equal(average_precision(counts), 1)
    assert panoptic_quality(counts) == foreground_iou(counts) == 1


def test_ap_pq_and_iou_match_hand_computed_values():
    # IoU of cell 1 is 3/5: counted up to the threshold 0.60. Cell 2 is missed, object 8 spurious.
    reference = np.array([[1, 1, 1, 1, 0, 0, 2, 2, 0, 0]])
    segmented = np.array([[0, 7, 7, 7, 7, 0, 0, 0, 8, 0]])
    counts = count_matches(overlap_table(reference, segmented))
    assert counts.matches.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert_allclose(average_precision(counts), [1 / 3] * 3 + [0] * 7)
    assert_allclose(panoptic_quality(counts), (3 / 5) / (1 + 0.5 + 0.5))
    assert_allclose(foreground_iou(counts), 3 / 8)


@pytest.mark.parametrize("percent", range(50, 100, 5))
def test_an_iou_equal_to_a_threshold_counts(percent):
    reference, segmented = np.ones((1, 100), int), np.zeros((1, 100), int)
    segmented[0, :percent] = 1
    counts = count_matches(overlap_table(reference, segmented))
    assert counts.matches.sum() == sum(threshold <= percent / 100 for threshold in IOU_THRESHOLDS)
    assert counts.matches.sum() == (percent - 50) // 5 + 1


def test_a_cell_cut_in_half_is_matched_once():
    counts = count_matches(overlap_table([[1, 1, 1, 1]], [[5, 5, 6, 6]]))
    assert counts.matches[0] == 1
    assert counts.panoptic_iou == 0


@given(st.lists(st.tuples(label_images, label_images), max_size=3))
def test_added_counts_equal_those_of_the_frames_side_by_side(frames):
    added = add_counts(count_matches(overlap_table(*frame)) for frame in frames)
    wide = [
        np.hstack([np.where(frame[i] > 0, frame[i] + 10 * k, 0) for k, frame in enumerate(frames)])
        if frames
        else np.zeros((1, 1), int)
        for i in (0, 1)
    ]
    expected = count_matches(overlap_table(*wide))
    assert_array_equal(added.matches, expected.matches)
    assert_allclose(added.panoptic_iou, expected.panoptic_iou)
    assert (added.cells, added.objects) == (expected.cells, expected.objects)
    assert (added.intersection, added.union) == (expected.intersection, expected.union)


@given(label_images, label_images)
def test_foreground_iou_equals_that_of_the_masks(reference, segmented):
    a, b = reference > 0, segmented > 0
    counts = count_matches(overlap_table(reference, segmented))
    assert (counts.intersection, counts.union) == ((a & b).sum(), (a | b).sum())


@pytest.mark.parametrize("shape", [(2, 2), (0, 3)])
def test_scores_of_empty_images_are_nan(shape):
    counts = count_matches(overlap_table(np.zeros(shape, int), np.zeros(shape, int)))
    assert np.isnan(average_precision(counts)).all()
    assert np.isnan(panoptic_quality(counts))
    assert np.isnan(foreground_iou(counts))


# --- Mistakes, partial truth ---------------------------------------------------------------------


def test_kinds_of_mistakes_are_distinguished():
    reference = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3, 4, 0, 0, 5, 5]])
    segmented = np.array([[1, 1, 1, 2, 0, 0, 0, 0, 6, 6, 0, 9, 7, 7]])
    mistakes = find_mistakes(overlap_table(reference, segmented))
    assert mistakes.missed.tolist() == [2]
    assert mistakes.split.tolist() == [1]  # found by object 1, and object 2 lies in it
    assert mistakes.merged.tolist() == [3, 4]
    assert mistakes.spurious.tolist() == [9]


def test_a_cell_that_is_merged_and_split_counts_as_merged():
    reference = np.array([[1, 1, 1, 1, 1, 1, 1, 2, 2]])
    segmented = np.array([[8, 0, 9, 5, 5, 5, 5, 5, 5]])
    mistakes = find_mistakes(overlap_table(reference, segmented))
    assert [labels.tolist() for labels in mistakes] == [[], [], [1, 2], []]


def test_an_object_of_which_half_lies_in_a_cell_is_spurious():
    mistakes = find_mistakes(overlap_table([[1, 1, 1, 1, 0, 0]], [[0, 0, 0, 9, 9, 0]]))
    assert [labels.tolist() for labels in mistakes] == [[1], [], [], [9]]


@given(label_images)
def test_the_reference_has_no_mistakes(reference):
    assert not any(map(len, find_mistakes(overlap_table(reference, reference))))


def test_objects_on_unannotated_cells_are_left_out():
    # Cells 1 and 2 have masks, 3 and 6 only markers. Object 8 holds marker 3; object 7 holds marker
    # 6, but also cell 2, by which it is judged; object 9 holds nothing.
    reference = np.array([[1, 1, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0]])
    segmented = np.array([[6, 6, 0, 7, 7, 7, 7, 0, 8, 8, 0, 9]])
    markers = np.array([[4, 0, 0, 5, 0, 0, 6, 0, 3, 0, 0, 0]])
    unknown = objects_without_truth(reference, segmented, markers)
    assert unknown.tolist() == [7, 8]
    score = score_frame("000", overlap_table(reference, segmented), unknown)
    assert score.unjudged == 1
    assert score.mistakes.spurious.tolist() == [9]
    assert_allclose(average_precision(score.counts)[0], 2 / 3)


def test_most_of_a_marker_decides_which_cell_and_object_it_is_of():
    # Marker 5 touches cell 1 and object 7, but most of it lies in object 8 alone.
    reference = np.array([[1, 1, 1, 0, 0, 0]])
    segmented = np.array([[7, 7, 7, 8, 8, 8]])
    markers = np.array([[4, 4, 5, 5, 5, 0]])
    assert objects_without_truth(reference, segmented, markers).tolist() == [8]


@given(label_images, label_images, st.sets(st.integers(1, 5)))
def test_leaving_objects_out_of_the_table_equals_erasing_them(reference, segmented, labels):
    gone = np.array(sorted(labels), int)
    expected = overlap_table(reference, np.where(np.isin(segmented, gone), 0, segmented))
    for got, want in zip(
        without_objects(overlap_table(reference, segmented), gone), expected, strict=True
    ):
        assert_array_equal(got, want)


# --- DET and TRA ---------------------------------------------------------------------------------

# A cell that divides after its second frame, and one that stays.
LINEAGE = [[[1, 1, 0, 2, 2, 0, 0]], [[1, 1, 0, 2, 2, 0, 0]], [[1, 1, 0, 3, 0, 4, 0]]]
TRACKS = np.array([[1, 0, 2, 0], [2, 0, 1, 0], [3, 2, 2, 2], [4, 2, 2, 2]])


def compare(result, result_tracks=TRACKS):
    frames = [overlap_table(a, b) for a, b in zip(LINEAGE, result, strict=True)]
    return compare_lineages(frames, TRACKS, np.array(result_tracks).reshape(-1, 4))


def test_the_true_lineage_needs_no_correction():
    errors = compare(LINEAGE)
    assert errors == GraphErrors(0, 0, 0, 0, 0, 0, vertices=7, edges=5)
    assert det(errors) == tra(errors) == 1


def test_a_track_far_beyond_the_last_frame_costs_no_time():
    endless = [[99, 0, 10**15, 0]]
    assert compare(LINEAGE, [*TRACKS, *endless]) == compare(LINEAGE)


def test_an_empty_result_has_zero_det_and_tra():
    errors = compare([np.zeros((1, 7), int)] * 3, [])
    assert errors == GraphErrors(0, 7, 0, 0, 5, 0, vertices=7, edges=5)
    assert det(errors) == tra(errors) == 0


def test_a_missed_cell_costs_its_vertex_and_its_edges():
    # Cell 1 vanishes in frame 1 and reappears as the track 5 with parent 1: the reference has no
    # edge from frame 0 to frame 2.
    result = [LINEAGE[0], [[0, 0, 0, 2, 2, 0, 0]], [[5, 5, 0, 3, 0, 4, 0]]]
    tracks = [[1, 0, 0, 0], [5, 2, 2, 1], *TRACKS[1:].tolist()]
    errors = compare(result, tracks)
    assert errors == GraphErrors(
        0, 1, 0, edges_extra=1, edges_missed=2, edges_wrong=0, vertices=7, edges=5
    )
    assert_allclose(det(errors), 1 - 10 / 70)
    assert_allclose(tra(errors), 1 - (10 + 1 + 2 * 1.5) / (70 + 5 * 1.5))


def test_a_division_tracked_as_a_new_cell_costs_edges():
    # Daughter 3 keeps the mother's number: a link where a parent edge should be; 4 has no parent.
    result = [LINEAGE[0], LINEAGE[1], [[1, 1, 0, 2, 0, 4, 0]]]
    errors = compare(result, [[1, 0, 2, 0], [2, 0, 2, 0], [4, 2, 2, 0]])
    assert (errors.edges_wrong, errors.edges_missed, errors.edges_extra) == (1, 1, 0)
    assert_allclose(tra(errors), 1 - (1 + 1.5) / (70 + 7.5))


def test_merged_cells_need_a_split_and_lose_their_edges():
    merged = [[1, 1, 1, 1, 1, 0, 0]]
    errors = compare(
        [LINEAGE[0], merged, LINEAGE[2]], [[1, 0, 2, 0], [2, 0, 0, 0], *TRACKS[2:].tolist()]
    )
    assert errors.splits == 1
    assert (errors.missed, errors.extra) == (0, 0)
    # Every true edge begins or ends at the merged object; the daughters' edges skip it.
    assert (errors.edges_missed, errors.edges_extra) == (5, 2)


def test_three_merged_cells_need_two_splits():
    table = overlap_table([[1, 1, 0, 2, 2, 0, 3, 3]], [[9] * 8])
    none = np.empty((0, 4), int)
    errors = compare_lineages([table], none, none)
    assert (errors.splits, errors.missed, errors.extra) == (2, 0, 0)
    assert_allclose(det(errors), 1 - 2 * 5 / 30)


def test_an_extra_object_costs_one_point():
    result = [[[1, 1, 0, 2, 2, 0, 9]], LINEAGE[1], LINEAGE[2]]
    errors = compare(result, [*TRACKS.tolist(), [9, 0, 0, 0]])
    assert errors.extra == 1
    assert_allclose(det(errors), 1 - 1 / 70)


def test_scores_do_not_go_below_zero():
    assert det(GraphErrors(0, 1, 100, 0, 0, 0, vertices=1, edges=0)) == 0
    assert np.isnan(tra(GraphErrors(0, 0, 3, 0, 0, 0, vertices=0, edges=0)))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_det_and_tra_equal_py_ctcmetrics(seed):
    representations = pytest.importorskip("ctc_metrics.utils.representations")
    metrics = pytest.importorskip("ctc_metrics.metrics")
    rng = np.random.default_rng(seed)
    reference, reference_tracks = random_sequence(rng)
    result, result_tracks = random_sequence(rng)
    frames = [overlap_table(a, b) for a, b in zip(reference, result, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        matches = []
        for images in zip(reference, result, strict=True):
            paths = [str(Path(folder) / name) for name in ("man_track000.tif", "mask000.tif")]
            for path, image in zip(paths, images, strict=True):
                tifffile.imwrite(path, image.astype(np.uint16))
            matches.append(representations.match(*paths))
    columns = list(zip(*matches, strict=True))
    theirs = representations.count_acyclic_graph_correction_operations(
        reference_tracks, result_tracks, *map(list, columns[:4])
    )
    ours = compare_lineages(frames, reference_tracks, result_tracks)
    names = ("NS", "FN", "FP", "ED", "EA", "EC", "num_vertices", "num_edges")
    assert list(ours) == [theirs[name] for name in names]
    assert_allclose(det(ours), metrics.det(**theirs))
    assert_allclose(tra(ours), metrics.tra(**theirs)[0])


def random_sequence(rng, frames=5, places=6):
    """Draw a valid lineage: at each place in a row, a track begins, continues, divides or ends."""
    tracks, masks, at = [], [], [0] * places

    def begin(place, frame, parent):
        at[place] = len(tracks) + 1
        tracks.append([at[place], frame, frame, parent])

    for frame in range(frames):
        before = list(at)
        for place in range(places):
            fate = rng.random()
            if not before[place]:
                if not at[place] and fate < 0.6:
                    begin(place, frame, 0)
            elif fate < 0.2:
                at[place] = 0
            elif fate < 0.4 and place + 1 < places and not at[place + 1] and not before[place + 1]:
                begin(place, frame, before[place])
                begin(place + 1, frame, before[place])
        mask = np.zeros((3, 4 * places + 1), int)
        for place, label in enumerate(at):
            if label:
                tracks[label - 1][2] = frame
                start, width = 1 + 4 * place + rng.integers(2), rng.integers(1, 6)
                mask[1, start : start + width] = label
        # A live track whose object is covered by its neighbours gets a pixel in another row.
        for place, label in enumerate(at):
            if label and not (mask == label).any():
                mask[2, 1 + 4 * place] = label
        masks.append(mask)
    return masks, np.array(tracks).reshape(-1, 4)


@pytest.mark.parametrize("name", ["cells", "em", "lineage", "mistakes", "overlap", "warping"])
def test_docstring_examples_pass(name):
    module = importlib.import_module(f"unet2015.metrics.{name}")
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
