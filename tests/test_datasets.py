import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unet2015 import InputError
from unet2015.datasets.any import load_frames
from unet2015.datasets.checks import warn_of_doubts, warn_of_strays
from unet2015.datasets.ctc import load_sequence, unannotated
from unet2015.datasets.em import load_slices
from unet2015.datasets.frames import annotated_frame, digest, in_field, smallest_cell
from unet2015.datasets.pairs import load_pairs
from unet2015.datasets.synthetic import simulate, write_sequence
from unet2015.images import write_image
from unet2015.labelfiles.doubt import has_soft_edges, looks_like_a_picture, numbers_in_pieces


def write_ctc(data, labels, markers):
    for folder in ("01", "01_GT/SEG", "01_GT/TRA"):
        (data / folder).mkdir(parents=True)
    image = np.arange(labels.size, dtype=np.uint8).reshape(labels.shape)
    write_image(data / "01/t003.tif", image)
    write_image(data / "01/t004.tif", image)
    write_image(data / "01_GT/SEG/man_seg003.tif", labels)
    write_image(data / "01_GT/TRA/man_track003.tif", markers)


def test_the_surroundings_of_a_marker_without_a_mask_are_ignored():
    labels = np.zeros((40, 60), np.uint16)
    labels[5:15, 5:15] = 4
    markers = np.zeros_like(labels)
    markers[8:11, 8:11] = 1  # inside the mask, under another number
    markers[19:22, 39:42] = 2  # outside all masks
    ignore = unannotated(labels, markers, reach=8)
    rows, columns = np.indices(labels.shape)
    distance = np.hypot(
        np.clip(abs(rows - 20) - 1, 0, None), np.clip(abs(columns - 40) - 1, 0, None)
    )
    assert np.array_equal(ignore, distance <= 8)


def test_a_name_in_the_place_of_the_image_is_refused():
    with pytest.raises(InputError, match="the name is ndarray: give image, labels and name"):
        annotated_frame("a", np.zeros((9, 9)), two_cells())


def test_annotated_pixels_and_complete_frames_are_never_ignored():
    labels = np.zeros((20, 20), np.uint16)
    labels[:, :8] = 1
    markers = np.zeros_like(labels)
    markers[10, 9] = 5
    ignore = unannotated(labels, markers, reach=6)
    assert ignore[10, 9]
    assert not ignore[:, :8].any()
    markers[10, 9] = 0
    assert not unannotated(labels, markers, reach=6).any()


def test_a_marker_that_a_mask_half_covers_is_annotated():
    labels, markers = np.zeros((2, 9, 9), np.uint16)
    labels[4, :4] = 1
    markers[4, 2:6] = 1
    assert not unannotated(labels, markers, reach=6).any()
    markers[4, 6] = 1
    assert unannotated(labels, markers, reach=6).any()


def test_a_sequence_gives_its_annotated_frames(tmp_path):
    labels = np.zeros((30, 40), np.uint16)
    labels[4:16, 4:16] = 7
    markers = np.zeros_like(labels)
    markers[20:22, 30:32] = 1
    write_ctc(tmp_path, labels, markers)
    (frame,) = load_sequence(tmp_path, "01")
    assert frame.name.endswith("01/t003")
    assert frame.image.shape == (1, 30, 40)
    assert np.array_equal(frame.labels, labels)
    reach = 2 * np.sqrt(144 / np.pi)
    near = ndimage.distance_transform_edt(markers == 0) <= reach
    assert np.array_equal(frame.ignore, near & (labels == 0))


def test_the_reach_of_a_missing_cell_follows_the_median_cell(tmp_path):
    labels, markers = np.zeros((2, 60, 90), np.uint16)
    labels[2:6, 2:6], labels[2:6, 10:14], labels[20:50, 5:35] = 1, 2, 3
    markers[30, 70] = 4
    write_ctc(tmp_path, labels, markers)
    (frame,) = load_sequence(tmp_path, "01")
    near = ndimage.distance_transform_edt(markers == 0) <= 2 * np.sqrt(16 / np.pi)
    assert np.array_equal(frame.ignore, near)


def test_a_sequence_needs_no_markers(tmp_path):
    write_ctc(tmp_path, np.eye(30, 40, dtype=np.uint16), np.ones((30, 40), np.uint16))
    shutil.rmtree(tmp_path / "01_GT/TRA")
    (frame,) = load_sequence(tmp_path, "01")
    assert not frame.ignore.any()


def test_a_frame_of_several_planes_is_refused(tmp_path):
    write_ctc(tmp_path, np.eye(30, 40, dtype=np.uint16), np.zeros((30, 40), np.uint16))
    write_image(tmp_path / "01/t003.tif", np.zeros((2, 30, 40), np.uint8), "ZYX")
    with pytest.raises(InputError, match=r"t003.tif is a stack of 2 planes"):
        load_sequence(tmp_path, "01")
    write_image(tmp_path / "01_GT/SEG/man_seg003.tif", np.ones((2, 30, 40), np.uint8), "ZYX")
    with pytest.raises(InputError, match=r"man_seg003.tif is a stack of 2 planes"):
        load_sequence(tmp_path, "01")


def test_sequence_files_may_differ_in_zero_padding_and_suffix(tmp_path):
    labels = np.zeros((30, 40), np.uint16)
    labels[4:16, 4:16] = 7
    markers = np.zeros_like(labels)
    markers[20:22, 30:32] = 1
    write_ctc(tmp_path, labels, markers)
    (expected,) = load_sequence(tmp_path, "01")
    truth = tmp_path / "01_GT"
    (truth / "TRA/man_track003.tif").rename(truth / "TRA/man_track0003.tiff")
    (tmp_path / "01/t003.tif").rename(tmp_path / "01/t003.TIF")
    (found,) = load_sequence(tmp_path, "01")
    assert np.array_equal(found.image, expected.image)
    assert np.array_equal(found.ignore, expected.ignore)
    write_image(tmp_path / "01/t0003.tif", found.image[0])
    with pytest.raises(InputError, match=r"t0003.tif and t003.TIF for one frame: remove one"):
        load_sequence(tmp_path, "01")
    (tmp_path / "01/t0003.tif").unlink()
    (tmp_path / "01/t003.TIF").unlink()
    with pytest.raises(InputError, match=r"no image t003.tif for .*man_seg003.tif"):
        load_sequence(tmp_path, "01")


def test_a_broken_sequence_gets_one_sentence(tmp_path):
    labels = np.zeros((30, 40), np.uint16)
    with pytest.raises(InputError, match="does not exist"):
        load_sequence(tmp_path / "nowhere", "01")
    write_ctc(tmp_path, labels, labels)
    with pytest.raises(InputError, match="does not exist"):
        load_sequence(tmp_path, "02")
    with pytest.raises(InputError, match="contains a cell"):
        load_sequence(tmp_path, "01")
    labels[3:9, 3:9] = 1
    tifffile.imwrite(tmp_path / "01_GT/TRA/man_track003.tif", labels[:20])
    with pytest.raises(InputError, match=r"man_track003.tif is 20x40 and .*man_seg003.tif 30x40"):
        load_sequence(tmp_path, "01")
    tifffile.imwrite(tmp_path / "01_GT/SEG/man_seg003.tif", labels[:20])
    (tmp_path / "01_GT/TRA/man_track003.tif").unlink()
    with pytest.raises(InputError, match="30x40 and its labels are 20x40"):
        load_sequence(tmp_path, "01")
    (tmp_path / "01_GT/SEG/man_seg003.tif").unlink()
    with pytest.raises(InputError, match=r"holds no man_segNNN\.tif"):
        load_sequence(tmp_path, "01")


def test_pairs_are_matched_by_their_stems(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    labels = np.eye(8, dtype=np.uint16)
    for stem, suffix in (("b", ".png"), ("a", ".tif")):
        write_image(tmp_path / f"images/{stem}{suffix}", labels * np.uint16(ord(stem)))
        write_image(tmp_path / f"labels/{stem}.png", labels)
    frames = load_pairs(tmp_path)
    assert [frame.image.max() for frame in frames] == [ord("a"), ord("b")]
    (tmp_path / "labels/a.png").unlink()
    with pytest.raises(InputError, match="a only in images/: give each image"):
        load_pairs(tmp_path)
    write_image(tmp_path / "labels/c.png", labels)
    with pytest.raises(InputError, match="a only in images/; c only in labels/: give each"):
        load_pairs(tmp_path)
    write_image(tmp_path / "labels/b.tif", labels)
    with pytest.raises(InputError, match=r"b.png and b.tif for one frame"):
        load_pairs(tmp_path)


def test_an_ome_tiff_and_a_tiff_are_a_pair(tmp_path):
    write_pairs(tmp_path, np.eye(8))
    (tmp_path / "images" / "0.tif").rename(tmp_path / "images" / "0.ome.tif")
    assert [frame.name for frame in load_pairs(tmp_path)] == [f"{tmp_path.name}/0"]


def test_a_mask_is_recognised_far_from_the_corner():
    labels = np.zeros((2500, 2600), np.uint8)
    labels[2200:2230, 2300:2330] = labels[2300:2330, 2300:2330] = 1
    assert numbers_in_pieces(labels)
    assert not numbers_in_pieces(labels[:2250])
    assert not numbers_in_pieces(labels[:2000])


def test_a_missing_folder_is_explained_by_those_that_are_there(tmp_path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"images does not exist.*in it are Images, masks\."):
        load_pairs(tmp_path)


def test_what_is_left_out_beside_pairs_is_named(tmp_path, caplog):
    write_pairs(tmp_path, np.eye(8))
    (tmp_path / "images" / "1.jpg").touch()
    (tmp_path / "labels" / "b.zarr").mkdir()
    (tmp_path / "labels" / "b.zarr" / "zarr.json").touch()
    (tmp_path / "labels" / ".hidden.zarr").mkdir()
    (tmp_path / "labels" / ".hidden.zarr" / "zarr.json").touch()
    (tmp_path / "labels" / "more").mkdir()
    (tmp_path / "labels" / "more" / "1.tif").touch()
    load_pairs(tmp_path)
    assert f"left out of {tmp_path / 'images'}: 1.jpg." in caplog.text
    assert f"left out of {tmp_path / 'labels'}: b.zarr, more/." in caplog.text
    (tmp_path / "images" / "0.tif").unlink()
    with pytest.raises(InputError, match=r"images holds no TIFF or PNG files, but 1.jpg: convert"):
        load_pairs(tmp_path)


def write_pairs(data, *labels):
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
        for number, found in enumerate(labels):
            write_image(data / folder / f"{number}.tif", np.asarray(found, np.uint8))


def test_swapped_images_and_labels_are_detected(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cells = np.kron(np.arange(12).reshape(3, 4), np.ones((10, 10), int)).astype(np.uint8)
    write_image(tmp_path / "images" / "a.tif", cells)
    noise = np.random.default_rng(0).integers(1, 255, cells.shape, dtype=np.uint8)
    write_image(tmp_path / "labels" / "a.tif", noise)
    with pytest.raises(InputError, match=r"labels.a.tif: most pixels differ from the pixel beside"):
        load_pairs(tmp_path)
    soft = np.rint(np.clip(np.hypot(*np.ogrid[-15:15, -20:20]) * -120 + 1500, 0, 255))
    write_image(tmp_path / "labels" / "a.tif", soft.astype(np.uint8))
    with pytest.raises(InputError, match=r"labels.a.tif: most pixels .* a mask with soft edges"):
        load_pairs(tmp_path)


@pytest.mark.parametrize(
    ("pairs", "unlike", "told"), [(500, 300, True), (500, 200, False), (400, 400, False)]
)
def test_few_or_mostly_equal_neighbours_make_no_picture(pairs, unlike, told):
    labels = np.zeros((1, 4801), np.uint8)
    labels[0, 0 : 3 * pairs : 3] = labels[0, 1 : 3 * pairs : 3] = 1
    labels[0, 1 : 3 * unlike : 3] = 2
    assert looks_like_a_picture(labels) == told


def test_cells_one_pixel_wide_are_no_soft_edges():
    labels = np.zeros((20, 30), np.uint8)
    labels[:, :4] = 255
    labels[:, 12::2] = np.arange(1, 10)
    assert not has_soft_edges(labels)
    single = np.indices(labels.shape).sum(axis=0) % 2 == 0
    assert has_soft_edges(np.where(single | (labels == 255), labels, 0))


def test_components_of_masks_become_cells_with_a_warning(tmp_path, caplog):
    masks = [[255, 0, 255, 255], [0, 0, 255, 0]], [[0, 0, 0, 0], [0, 255, 255, 0]]
    write_pairs(tmp_path / "masks", *masks)
    first, second = load_pairs(tmp_path / "masks")
    assert first.labels.tolist() == [[1, 0, 2, 2], [0, 0, 2, 0]]
    assert second.labels.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0]]
    assert "holds masks: each 8-connected component" in caplog.text
    assert "the smallest of 1 pixels" in caplog.text
    assert smallest_cell([first, second]) == 1


@pytest.mark.parametrize(
    "labels", [([[1, 0, 1, 2]], [[0, 0, 0, 0]]), ([[5, 5, 0, 0]], [[0, 0, 5, 0]])]
)
def test_cell_numbers_are_kept(tmp_path, caplog, labels):
    write_pairs(tmp_path / "numbered", *labels)
    assert [frame.labels.tolist() for frame in load_pairs(tmp_path / "numbered")] == list(labels)
    assert not caplog.messages


def test_the_smallest_cell_of_all_frames_is_found():
    labels = np.zeros((9, 9), np.uint8)
    large, small = labels.copy(), labels.copy()
    large[:5, :5], small[:5, :5], small[7:, 6:] = 1, 1, 2
    frames = [annotated_frame(labels, found, "a") for found in (labels, large, small)]
    assert [smallest_cell(frames[:n]) for n in (1, 2, 3)] == [0, 25, 6]


def test_labels_without_cells_are_refused(tmp_path):
    write_pairs(tmp_path, np.zeros((8, 8)), np.zeros((8, 8)))
    with pytest.raises(InputError, match="none of the 2 label images contains a cell"):
        load_pairs(tmp_path)


def test_a_data_set_is_known_by_its_pixels_labels_and_annotated_part():
    image, labels = np.indices((8, 8)).astype(np.uint8)
    frame = annotated_frame(image, labels, "a")
    others = [
        annotated_frame(image + 1, labels, "a"),
        annotated_frame(image, labels + 1, "a"),
        annotated_frame(image, labels, "a", labels > 3),
        annotated_frame(image.reshape(4, 16), labels.reshape(4, 16), "a"),
    ]
    assert len({digest([other]) for other in [frame, *others]}) == 5
    assert digest([frame._replace(name="b")]) == digest([frame])


def test_outside_the_field_only_the_surroundings_of_cells_are_annotated():
    labels, ignore = np.zeros((60, 70), int), np.zeros((60, 70), bool)
    labels[20:40, 10:30] = 1
    ignore[30, 40] = True
    expected = ndimage.distance_transform_edt(labels == 0) > 8
    expected[15:-15, 15:-15] = False
    frame = in_field(annotated_frame(np.zeros((60, 70)), labels, "a", ignore), 15)
    assert np.array_equal(frame.ignore, expected | ignore)
    with pytest.raises(InputError, match="leaves no field of interest in a"):
        in_field(frame, 30)


def test_sequences_of_data_without_any_are_refused(tmp_path):
    write_pairs(tmp_path, np.eye(8))
    with pytest.raises(InputError, match="has no sequences: leave them out"):
        load_frames(tmp_path, ["01"])


def two_cells():
    labels = np.zeros((60, 80), np.uint8)
    labels[10:30, 10:30], labels[10:30, 30:50], labels[40:55, 20:40] = 1, 2, 3
    return labels


def small_cell_with_three_holes():
    labels = (two_cells() == 1).astype(np.uint8)
    labels[15:26:5, 20] = 0
    return labels


def two_cells_in_holes():
    labels = np.ones((60, 80), np.uint8)
    labels[10:20, 10:20] = labels[40:50, 40:50] = 0
    labels[12:18, 12:18], labels[42:48, 42:48] = 2, 3
    return labels


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (two_cells(), ""),
        (two_cells() > 0, "most numbers in the labels have several separate pieces"),
        (np.minimum(two_cells(), 2) % 2 + 2 * (two_cells() == 2), ""),
        (np.indices((60, 80))[1] // 10 % 3, "several separate pieces"),
        (two_cells() == 0, "the labels may be inverted"),
        (two_cells() == 1, ""),
        (np.hypot(*np.ogrid[-30:30, -40:40]) < 42, ""),  # four corners are no holes
        (abs(np.subtract(*np.ogrid[-30:30, -40:40])) < 25, ""),
        (small_cell_with_three_holes(), ""),
        (two_cells_in_holes(), ""),
    ],
)
def test_labels_that_are_not_cells_are_warned_about(caplog, labels, told):
    image = np.random.default_rng(0).integers(0, 9, labels.shape)
    frames = [annotated_frame(image, labels.astype(np.uint8), name) for name in "ab"]
    warn_of_doubts(frames)
    assert told in caplog.text
    assert len(caplog.messages) == (1 if told else 0)
    assert caplog.text.count("a, b: ") == len(caplog.messages)


def test_constant_images_are_warned_about(caplog):
    plain = np.full((60, 80), 7)
    warn_of_doubts([annotated_frame(plain, two_cells(), "a")])
    assert "a: all pixels of the image are equal" in caplog.text
    caplog.clear()
    warn_of_doubts([annotated_frame(np.stack([plain, two_cells()]), two_cells(), "a")])
    assert not caplog.messages
    warn_of_doubts([annotated_frame(np.stack([plain, plain + 1]), two_cells(), "a")])
    assert "all pixels of the image are equal" in caplog.text


@pytest.mark.parametrize(
    ("cell", "pixels", "told"),
    [(20, 1, True), (20, 2, True), (20, 3, False), (100, 4, True), (100, 5, False), (9, 1, False)],
)
def test_strays_are_judged_by_the_size_of_the_cells(caplog, cell, pixels, told):
    labels = np.zeros((120, 130), int)
    labels[5 : 5 + cell, 5 : 5 + cell] = 1
    labels[110, 110 : 110 + pixels] = 2
    image = np.random.default_rng(0).integers(0, 9, labels.shape)
    warn_of_strays([annotated_frame(image, labels, "a")])
    assert len(caplog.messages) == told


@pytest.mark.parametrize(("pixels", "told"), [(1, True), (2, True), (3, False)])
def test_strays_are_named_with_their_place(caplog, pixels, told):
    image, stray = np.random.default_rng(0).integers(0, 9, (60, 80)), two_cells()
    stray[57, 70 : 70 + pixels] = 9
    clean = annotated_frame(image, two_cells(), "a")
    warn_of_strays([clean, annotated_frame(image, stray, "b")])
    place = f"b: cell 9 at row 57, column 70 has so few pixels ({pixels})"
    assert (place in caplog.text) == told
    assert len(caplog.messages) == told


def test_many_strays_are_not_taken_for_the_usual_size(caplog):
    image, strays = np.random.default_rng(0).integers(0, 9, (60, 80)), two_cells()
    strays[57, 2:70:4] = np.arange(17) + 10
    strays[54, 5:7] = 9
    warn_of_strays([annotated_frame(image, strays, "a")])
    assert "row 57, column 2 and 17 more have so few pixels (1)" in caplog.text


@pytest.mark.parametrize("place", [(0, 70), (59, 70), (33, 0), (33, 79)])
def test_cells_that_the_edge_cuts_are_no_strays(caplog, place):
    image, cut = np.random.default_rng(0).integers(0, 9, (60, 80)), two_cells()
    cut[place] = 9
    warn_of_strays([annotated_frame(image, cut, "a")])
    assert not caplog.messages


def test_a_stray_piece_makes_no_mask(caplog):
    image, one = np.random.default_rng(0).integers(0, 9, (60, 80)), two_cells() == 1
    one[57, 70] = True
    warn_of_doubts([annotated_frame(image, one.astype(np.uint8), "a")])
    assert not caplog.messages


def test_the_planes_of_a_stack_are_frames(tmp_path):
    labels = np.eye(8, dtype=np.uint16)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        stack = np.stack([labels, labels.T * 0, labels[::-1]])
        write_image(tmp_path / folder / "a.tif", stack, "ZYX" if folder == "images" else "TYX")
    frames = load_pairs(tmp_path)
    assert [frame.name for frame in frames] == [f"{tmp_path.name}/a[{n}]" for n in range(3)]
    for frame, plane in zip(frames, stack, strict=True):
        assert np.array_equal(frame.image, plane[None])
        assert np.array_equal(frame.labels, plane)
    for folder in ("images", "labels"):
        write_image(tmp_path / folder / "a.tif", stack[:2], "ZYX")
    assert [frame.name for frame in load_pairs(tmp_path)] == [frame.name for frame in frames[:2]]
    write_image(tmp_path / "images" / "a.tif", stack, "ZYX")
    write_image(tmp_path / "labels" / "a.tif", labels)
    refused = r"a.tif \({}.*a.tif \({}.*differ in their planes: give one label plane"
    with pytest.raises(InputError, match=refused.format("Z 3, ", "Y 8, ")):
        load_pairs(tmp_path)
    write_image(tmp_path / "images" / "a.tif", np.ones((2, 3, 8, 8), np.uint8), "TZYX")
    write_image(tmp_path / "labels" / "a.tif", np.ones((6, 8, 8), np.uint8), "ZYX")
    with pytest.raises(InputError, match=refused.format("T 2, Z 3", "Z 6")):
        load_pairs(tmp_path)
    for folder, shape in (("images", (2, 3)), ("labels", (3, 2))):
        write_image(tmp_path / folder / "a.tif", np.ones((*shape, 8, 8), np.uint8), "TZYX")
    with pytest.raises(InputError, match=refused.format("T 2, Z 3", "T 3, Z 2")):
        load_pairs(tmp_path)
    tifffile.imwrite(tmp_path / "images/a.tif", np.ones((3, 8, 8), np.uint8), photometric="rgb")
    write_image(tmp_path / "labels" / "a.tif", stack, "ZYX")
    with pytest.raises(InputError, match="if these are planes of a stack"):
        load_pairs(tmp_path)
    write_image(tmp_path / "labels" / "a.tif", labels)
    channels = np.stack([labels] * 3)
    tifffile.imwrite(tmp_path / "images/a.tif", channels, imagej=True, metadata={"axes": "CYX"})
    assert [frame.image.shape for frame in load_pairs(tmp_path)] == [(3, 8, 8)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4), np.float32) + 0.5, "fractions"),
        (np.zeros((4, 4, 3), np.uint8), "colour"),
        (np.zeros((2, 4, 5), np.uint8), "one plane"),
        (np.full((4, 4), -1), "negative"),
        (np.zeros((5, 4), np.uint8), "same size"),
    ],
)
def test_invalid_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        annotated_frame(np.zeros((4, 4)), labels, "frame")


@pytest.mark.parametrize(
    ("image", "ignore", "message"),
    [
        (np.zeros((4, 4), complex), None, "real numbers"),
        (np.zeros((4, 4)), np.zeros((3, 3), bool), "ignore is 3x3"),
        (np.zeros((4, 4)), np.zeros((4, 4)), "must be bool"),
        (np.array(5), None, "must have the same size"),
    ],
)
def test_images_and_masks_that_do_not_fit_the_labels_are_refused(image, ignore, message):
    with pytest.raises(InputError, match=message):
        annotated_frame(image, np.eye(4, dtype=int), "frame", ignore)


def test_frames_without_pixels_are_refused():
    with pytest.raises(InputError, match="are 0x4 pixels: give at least one"):
        annotated_frame(np.zeros((0, 4)), np.zeros((0, 4), int), "frame")


def test_lists_are_accepted_as_arrays():
    frame = annotated_frame([[0, 1]], [[0, 1]], Path("frame"), [[True, False]])
    assert frame.image.shape == (1, 1, 2)
    assert frame.ignore.tolist() == [[True, False]]
    assert frame.name == "frame"  # stored as text with the model


def test_simulated_cells_touch_stay_whole_and_keep_their_numbers(tmp_path):
    frames = list(simulate(3, (120, 150), 14, np.random.default_rng(1)))
    again = list(simulate(3, (120, 150), 14, np.random.default_rng(1)))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, again, strict=True))
    touching = 0
    for frame in frames:
        labels = frame.labels
        for cell in np.unique(labels[labels > 0]):
            assert ndimage.label(labels == cell)[1] == 1
        touching += (
            (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
        ).sum()
    assert touching > 50
    overlap = (frames[0].labels == frames[1].labels)[frames[0].labels > 0].mean()
    assert overlap > 0.7
    write_sequence(tmp_path, "01", iter(frames))
    loaded = load_sequence(tmp_path, "01")
    assert len(loaded) == 3
    assert not any(frame.ignore.any() for frame in loaded)


def test_partial_gold_truth_of_real_sequences_is_detected(real_data):
    frames = {frame.name[-3:]: frame for frame in load_sequence(real_data / "DIC-C2DH-HeLa", "01")}
    partial = {name for name, frame in frames.items() if frame.ignore.any()}
    assert partial == {"034", "039", "067"}
    assert frames["067"].ignore.mean() > 0.5
    complete = load_sequence(real_data / "PhC-C2DH-U373", "01")
    assert len(complete) == 15
    assert sum(len(np.unique(frame.labels)) - 1 for frame in complete) == 100
    assert not any(frame.ignore.any() for frame in complete)


def test_silver_truth_fills_in_frames_without_gold_truth(tmp_path):
    gold = np.zeros((30, 40), np.uint16)
    gold[4:16, 4:16] = 7
    silver = np.full_like(gold, 9)
    write_ctc(tmp_path, gold, gold)
    with pytest.raises(InputError, match="01_ST"):
        load_sequence(tmp_path, "01", silver=True)
    (tmp_path / "01_ST/SEG").mkdir(parents=True)
    for number in ("003", "004"):
        write_image(tmp_path / f"01_ST/SEG/man_seg{number}.tif", silver)
    first, second = load_sequence(tmp_path, "01", silver=True)
    assert np.array_equal(first.labels, gold)
    assert np.array_equal(second.labels, silver)
    assert len(load_sequence(tmp_path, "01")) == 1


def test_em_cells_are_the_regions_between_membranes(tmp_path):
    cells = np.full((2, 20, 30), 255, np.uint8)
    cells[:, :, 15] = 0
    cells[1, 10] = 0
    write_image(tmp_path / "train-volume.tif", cells // 2, "ZYX")
    write_image(tmp_path / "train-labels.tif", cells, "ZYX")
    first, second = load_slices(tmp_path)
    assert (first.labels.max(), second.labels.max()) == (2, 4)
    assert np.array_equal(second.labels > 0, cells[1] > 0)
    assert np.array_equal(first.image[0], cells[0] // 2)


def test_em_stacks_of_different_sizes_are_refused(tmp_path):
    write_image(tmp_path / "train-volume.tif", np.zeros((2, 20, 30), np.uint8), "ZYX")
    write_image(tmp_path / "train-labels.tif", np.zeros((3, 20, 30), np.uint8), "ZYX")
    with pytest.raises(InputError, match="same size"):
        load_slices(tmp_path)


@pytest.mark.parametrize(
    ("name", "sequences"),
    [("PhC-C2DH-U373", ("01", "02")), ("DIC-C2DH-HeLa", ("01", "02")), ("ISBI-2012-EM", ())],
)
def test_nothing_in_the_data_of_the_paper_is_doubted(real_data, caplog, name, sequences):
    frames = load_frames(real_data / name, sequences)
    warn_of_doubts(frames)
    warn_of_strays(frames)
    assert not caplog.messages
