"""``unet2015 report`` and ``--report``: what is on the page, and what is refused."""

import base64
import re

import imagecodecs
import numpy as np
import pytest
from matplotlib import colormaps

from unet2015.cli import main
from unet2015.datasets.any import load_frames
from unet2015.datasets.frames import annotated_frame, digest, in_field
from unet2015.datasets.synthetic import simulate, write_sequence
from unet2015.errors import InputError
from unet2015.evaluation import score_sequence
from unet2015.evaluation.worst import worst_cells, worst_first
from unet2015.images import read_image, write_image
from unet2015.report import Report, check_page, write_page
from unet2015.report.charts import curve, histogram
from unet2015.report.content import RunRecord
from unet2015.report.gathering import (
    frames_to_show,
    read_run,
    score_predictions,
    score_result,
    training_frames,
    weigh,
)
from unet2015.report.html import Html, element
from unet2015.report.outlines import boxes, outlines
from unet2015.report.page import _read
from unet2015.report.rasters import (
    COLOUR_MAP,
    LARGEST_SIDE,
    grey_uri,
    reduce_labels,
    reduction,
    weights_uri,
)
from unet2015.report.runsections import run_facts, settings_section, training_section
from unet2015.report.scoresections import (
    frames_section,
    score_facts,
    scores_section,
    worst_section,
)
from unet2015.report.table import show
from unet2015.report.viewer import Picture, raster, viewer
from unet2015.runs import LogLine
from unet2015.weightmap import border_weight_map, separate_touching

SMALL = [
    *("--base-channels", "2", "--depth", "2"),
    *("--tile", "60", "--iterations", "4", "--interval", "2"),
]


def cli(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for sequence in ("01", "02"):
        cells = simulate(3, (70, 80), 6, np.random.default_rng(int(sequence)))
        write_sequence(folder, sequence, cells)
    return folder


@pytest.fixture(scope="module")
def result(data):
    """Sequence 02 with a cell missing in each frame and a spurious object in the last one."""
    folder = data / "<02_RES>"
    folder.mkdir()
    for number in range(3):
        cells = read_image(data / f"02_GT/SEG/man_seg{number:03d}.tif").copy()
        cells[cells == cells.max()] = 0
        if number == 2:
            cells[(cells == 0) & (np.arange(70)[:, None] < 1)] = 99
        write_image(folder / f"mask{number:03d}.tif", cells)
    return folder


@pytest.fixture(scope="module")
def trained(data):
    """The folder of a run, with the page that training wrote into it."""
    run = data / "run"
    words = ("train", data, "--sequences", "01", "--validation-sequences", "02", "-o", run)
    assert cli(*words, *SMALL, "--report", run / "report.html") == 0
    return run


def test_a_training_report_shows_curves_settings_weights_and_validation(trained):
    page = (trained / "report.html").read_text()
    for title in ("Frames", "Worst cells", "Scores", "Training", "Weight map", "Settings"):
        assert f">{title}</h2>" in page
    assert page.count('class="chart"') == 3  # loss, validation SEG, distribution of SEG
    assert "2 (64)" in page  # base channels and their default
    assert "data:image/png;base64," in page
    assert "/02/t001</option>" in page


def test_a_report_of_a_run_alone_has_neither_frames_nor_weights(trained, tmp_path):
    assert cli("report", trained, "-o", tmp_path / "new" / "page.html") == 0
    page = (tmp_path / "new" / "page.html").read_text()
    assert "Training</h2>" in page
    assert "Frames</h2>" not in page
    assert "Weight map</h2>" not in page


def test_a_run_and_a_result_share_a_page(data, trained, result, tmp_path):
    page = tmp_path / "page.html"
    words = ("report", trained, result, "--reference", data / "02_GT", "--data", data, "-o", page)
    assert cli(*words, "--margin", "5") == 0
    text = page.read_text()
    assert "<title>unet2015: run and &lt;02_RES&gt;</title>" in text
    assert f"<p>Training run <b>{trained}</b> on 3 annotated frames.</p>" in text
    assert f"&lt;02_RES&gt;</b> scored against the reference <b>{data / '02_GT'}</b>.</p>" in text
    assert "all but the outer 5 pixels" in text
    for title in ("Frames", "Scores", "Training", "Weight map"):
        assert f">{title}</h2>" in text
    score = score_sequence(data / "02_GT", result, margin=5)
    assert f"<dd>{score.seg:.4f}</dd>" in text


def test_data_other_than_the_training_data_is_warned_about(data, trained, tmp_path, caplog):
    settings = read_run(trained).settings
    training_frames(data, settings)
    assert not caplog.text
    for sequence, seed in (("01", 3), ("02", 4)):
        cells = simulate(3, (70, 80), 6, np.random.default_rng(seed))
        write_sequence(tmp_path, sequence, cells)
    training_frames(tmp_path, settings)
    assert "other pixels or labels" in caplog.text


def test_missing_training_frames_are_warned_about(data, trained, caplog):
    settings = read_run(trained).settings
    more = [*settings["frames"], f"{data.name}/01/t099"]
    training_frames(data, settings | {"frames": more})
    assert "other pixels or labels" in caplog.text


def test_training_frames_with_silver_truth_are_found(trained, tmp_path, caplog):
    write_sequence(tmp_path, "01", simulate(3, (70, 80), 6, np.random.default_rng(3)))
    (tmp_path / "01_ST" / "SEG").mkdir(parents=True)
    masks = sorted((tmp_path / "01_GT" / "SEG").iterdir())
    for mask in masks[1:]:
        mask.rename(tmp_path / "01_ST" / "SEG" / mask.name)
    frames = load_frames(tmp_path, ["01"], silver=True)
    names = [frame.name for frame in frames]
    settings = read_run(trained).settings | {"frames": names, "data": digest(frames)}
    assert len(training_frames(tmp_path, settings)) == len(masks) > 1
    assert not caplog.text


def test_names_are_escaped(data, result, tmp_path):
    page = tmp_path / "page.html"
    assert cli("report", result, "--reference", data / "02_GT", "-o", page) == 0
    assert "<02_RES>" not in page.read_text()
    assert "&lt;02_RES&gt;" in page.read_text()


def test_the_page_loads_nothing_from_elsewhere(trained):
    page = (trained / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "://" not in page


def test_the_image_switch_needs_images(data, result, tmp_path):
    page, truth = tmp_path / "page.html", tmp_path / "truth"
    truth.mkdir()
    for number in range(3):
        write_image(
            truth / f"mask{number:03d}.tif", read_image(data / f"02_GT/SEG/man_seg{number:03d}.tif")
        )
    words = ("report", result, "--reference", truth, "-o", page)
    assert cli(*words) == 0
    assert 'data-layer="image"' not in page.read_text()
    assert cli(*words, "--images", data / "02") == 0
    assert page.read_text().count('class="image"') == 3


def test_an_evaluation_report_shows_its_scores(data, result, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ("evaluate", data / "02_GT", result, "--margin", "5", "--report", page)
    assert cli(*words, "--images", data / "01") == 0
    score = score_sequence(data / "02_GT", result, margin=5)
    assert f"{score.seg:.4f}" in capsys.readouterr().out
    text = page.read_text()
    assert f"<dd>{score.seg:.4f}</dd>" in text
    assert "all but the outer 5 pixels" in text
    assert cli(*words[:-1], tmp_path / "page") == 2
    assert cli("evaluate", data / "02_GT", result, "--images", data / "01") == 2
    assert "--report" in capsys.readouterr().err
    assert cli("evaluate", data / "02_GT", result, "--em", "--report", page) == 2
    assert "leave out --report" in capsys.readouterr().err


def test_a_data_set_of_another_kind_is_refused(data):
    with pytest.raises(InputError, match="holds no images/, as the training set of this run did"):
        training_frames(data, {"frames": ["mine/cells"]})


def test_bad_input_gets_one_sentence(data, trained, result, tmp_path, capsys):
    truth, page = data / "02_GT", tmp_path / "page.html"
    for words, message in [
        ((result,), "--reference"),
        ((tmp_path / "no", trained), "no does not exist"),
        ((), "one run, one result"),
        ((trained, trained), "2 training runs"),
        ((result, result, "--reference", truth), "2 results"),
        ((trained, "--reference", truth), "are for a result"),
        ((trained, "--images", data / "02"), "are for a result"),
        ((trained, "--margin", "5"), "are for a result"),
        ((trained, "--connected-components", "both"), "are for a result"),
        ((trained.parent, "--margin", "5"), "is the folder of a demo"),
        ((trained.parent, "--data", data), "is the folder of a demo"),
        ((result, "--reference", truth, "--data", data), "training run"),
        ((trained, "--data", tmp_path), "does not exist"),
        ((result, "--reference", truth, "--images", tmp_path / "no"), "is not a folder"),
        ((result, "--reference", truth, "-o", tmp_path / "page.pdf"), "report.html"),
    ]:
        assert cli("report", *words, *(() if "-o" in words else ("-o", page))) == 2
        assert message in capsys.readouterr().err
    assert cli("train", data, "-o", tmp_path / "run", "--report", tmp_path / "page") == 2
    assert cli("demo", "-o", tmp_path / "demo", "--report", tmp_path) == 2
    assert not list(tmp_path.iterdir())


def test_a_page_may_be_in_a_new_folder_but_not_below_a_file(tmp_path):
    check_page(tmp_path / "a" / "b" / "page.html")
    check_page(tmp_path / "PAGE.HTM")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="another place"):
        check_page(tmp_path / "file" / "page.html")


def test_names_that_are_not_unicode_do_not_cost_the_page(tmp_path):
    write_page(tmp_path / "page.html", Report("cells \udcff"))
    assert "<title>cells ?</title>" in (tmp_path / "page.html").read_text()


def test_markup_is_kept_and_text_is_escaped():
    assert element("b", Html("<i>"), "<i>", None) == "<b><i>&lt;i&gt;</b>"
    assert element("a", title='"', hidden=False, aria_label=None) == '<a title="&quot;"></a>'


def pixels_inside(path, shape):
    """The pixels that a browser fills: even-odd rule at their centres, by ray casting."""
    inside = np.zeros(shape, bool)
    for line in re.findall(r"M[^M]+", path):
        numbers = np.array(re.findall(r"-?\d+", line), float).reshape(-1, 2)
        corners = np.cumsum(numbers, axis=0) / 2
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            for row in range(shape[0]):
                if (y0 > row + 0.5) != (y1 > row + 0.5):
                    crossing = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                    inside[row] ^= np.arange(shape[1]) + 0.5 > crossing
    return inside


def test_values_that_are_missing_are_dashes_in_tables():
    row = [*map(show, (None, float("nan"), 0.25, 3, "x"))]
    assert row == ["–", "–", "0.2500", 3, "x"]


def test_an_outline_encloses_its_cell_with_holes_and_pieces():
    labels = np.zeros((12, 15), np.uint16)
    labels[0:7, 1:9] = 700
    labels[2:4, 3:6] = 0
    labels[2:4, 4] = 3
    labels[9, 13:15] = 700
    labels[5:12, 5:8] = 40000
    found = outlines(labels)
    assert list(found) == [3, 700, 40000]
    for label, path in found.items():
        assert np.array_equal(pixels_inside(path, labels.shape), labels == label)
    assert boxes(labels)[40000] == (5, 5, 3, 7)


def test_large_images_and_their_labels_are_reduced_alike():
    shape = (LARGEST_SIDE * 2 + 1, 7)
    labels = np.zeros(shape, np.uint8)
    labels[3:] = 1
    factor = reduction(shape)
    assert factor == 3
    assert reduce_labels(labels, factor).shape == (shape[0] // 3, 2)
    assert reduce_labels(labels, factor)[:3, 0].tolist() == [0, 1, 1]
    assert grey_uri(np.zeros(shape), factor).startswith("data:image/jpeg;base64,/9j/")
    assert weights_uri(np.ones(shape), factor).startswith("data:image/png;base64,iVBOR")


def test_reduced_images_are_averaged_and_weights_keep_their_peaks():
    image, weights = np.full((8, 16), 0.0), np.zeros((8, 16))
    image[:, 8:] = 1
    image[::2, 8:] = 0  # half of each block
    weights[3, 3], weights[0, 15] = 5, 10
    grey = imagecodecs.jpeg8_decode(from_uri(grey_uri(image, 8)))
    np.testing.assert_allclose(grey.squeeze(), [0, 127.5], atol=3)
    colours = imagecodecs.png_decode(from_uri(weights_uri(weights, 8)))[0]
    bar = [colormaps[COLOUR_MAP](round(share * 63) / 63, bytes=True)[:3] for share in (0.5, 1)]
    np.testing.assert_array_equal(colours, bar)


def from_uri(uri):
    return base64.b64decode(uri.partition(",")[2])


def test_an_image_thinner_than_its_reduction_is_shown():
    shape = (LARGEST_SIDE * 3, 2)
    factor = reduction(shape)
    assert reduce_labels(np.ones(shape, np.uint8), factor).any()
    assert grey_uri(np.zeros(shape), factor).startswith("data:image/jpeg")


def test_a_histogram_counts_every_cell_once_and_names_the_mean():
    drawn = histogram(np.array([0.0, 0.5, 0.51, 1.0]), "SEG")
    assert [int(n) for n in re.findall(r"(\d+) cells with SEG", drawn)] == [1, 2, 1]
    assert "mean 0.5025" in drawn
    drawn = histogram(np.array([0.5, 0.8, 0.9]), "SEG")
    assert re.findall(r"SEG ([\d.]+ to [\d.]+)<", drawn) == [
        "0.50 to 0.55", "0.80 to 0.85", "0.90 to 0.95"
    ]  # fmt: skip
    assert "median 0.8000, 0 cells with 0, 33% with 0.9 or more" in drawn


def test_a_curve_marks_few_points_and_ends_its_axes_at_round_numbers():
    def drawn(count, **options):
        points = [(7.0 * (n + 1) / count, 0.3) for n in range(count)]
        return curve(points, ("iteration", "SEG"), kind="seg", **options)

    assert [drawn(count).count("<circle") for count in (60, 61)] == [60, 0]
    for top, options in (0.3, {}), (1.0, {"highest": 1}):
        marks = [float(mark) for mark in re.findall(r">([\d.]+)</text>", drawn(3, **options))]
        assert marks[:5] == [0, 2, 4, 6, 0], "8 would lie outside"
        assert marks[-1] == top


@pytest.mark.parametrize("value", [0.0, 1e-7, 0.3, 700.0])
def test_a_curve_stays_inside_its_axes(value):
    drawn = curve([(10.0, value), (20.0, value / 2)], ("iteration", "loss"), kind="loss")
    points = re.search(r'points="([^"]*)"', drawn)[1]
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert all(12 <= height <= 210 for height in heights)


def test_the_worst_frames_and_the_frames_of_the_worst_cells_are_shown(data, result):
    score = score_sequence(data / "02_GT", result)
    assert worst_first(score.frames)[0].name == "002"  # the one with a spurious object, too
    worst = worst_cells(score.frames, 4)
    assert [cell.seg for cell in worst] == [0, 0, 0, 1]
    assert worst[0].frame.name == "002"
    tied = [
        frame._replace(name=f"{seg}", seg=frame.seg._replace(mean=seg))
        for frame, seg in zip(score.frames[:1] * 3, (0.7, 0.2, 0.9), strict=True)
    ]
    assert [frame.name for frame in worst_first(tied)] == ["0.2", "0.7", "0.9"]
    good = [score.frames[0]._replace(name=f"good{n}", mistakes=score.frames[2].mistakes,
            seg=score.frames[0].seg._replace(values=np.ones_like(score.frames[0].seg.values)))
            for n in range(20)]  # fmt: skip
    assert frames_to_show(score.frames)[0].name == "002"
    shown = frames_to_show([*good, score.frames[0]])
    assert len(shown) == 7
    assert shown[-1].name == "000"  # few mistakes, but the only cell of SEG 0


@pytest.mark.parametrize("width", [1, 3])
def test_the_weight_map_matches_the_training(data, width):
    settings = {
        "training": {"ridge": width, "margin": 5},
        "weight_map": {"w0": 7.0, "sigma": 3.0},
        "class_weights": [0.5, 2.0],
        "frames": ["elsewhere/01/t001"],
    }
    frames = training_frames(data, settings)
    assert [frame.name[-7:] for frame in frames] == ["01/t001"]
    frames[0].ignore[30:40, 30:40] = True
    weighed = weigh(frames, settings)
    cut = separate_touching(frames[0].labels, width)
    ignore = in_field(frames[0], 5).ignore
    assert (ignore[35, 35], ignore[:5].any(), ignore[20:25].all()) == (True, True, False)
    expected = border_weight_map(cut, 7.0, 3.0, class_weights=(0.5, 2.0), ignore=ignore, ridge=0)
    assert np.array_equal(weighed.weights, expected)


def test_training_frames_that_are_not_there_are_reported(data, tmp_path):
    with pytest.raises(InputError, match="does not record its training frames"):
        training_frames(data, {})
    with pytest.raises(InputError, match="holds none of the frames"):
        training_frames(data, {"frames": ["elsewhere/01/t009"]})
    pixels = np.eye(40, dtype=np.uint8)
    for folder in ("images", "labels"):
        write_image(tmp_path / folder / "a.tif", pixels)
    names = ["elsewhere/a", "elsewhere/b"]
    assert len(training_frames(tmp_path, {"frames": names})) == 1


def test_the_margin_of_a_report_is_that_of_its_scores(data, result):
    segs = [score_result(data / "02_GT", result, margin).score.seg for margin in (0, 20)]
    assert segs == [score_sequence(data / "02_GT", result, margin).seg for margin in (0, 20)]
    assert segs[0] != segs[1]


def test_the_weight_map_shows_the_frame_with_the_most_cells():
    few, many = np.zeros((2, 30, 30), np.uint8)
    few[2:8, 2:8] = 99
    many[2:8, 2:8], many[12:18, 2:8] = 1, 2
    frames = [annotated_frame(labels, labels, f"set/{labels.max()}") for labels in (few, many)]
    settings = {
        "training": {"ridge": 1, "margin": 0},
        "weight_map": {"w0": 10, "sigma": 5},
        "class_weights": [1, 1],
    }
    assert weigh(frames, settings).name == "set/2"


def test_objects_in_unannotated_areas_are_not_spurious():
    labels, ignore, found = (np.zeros((10, 20), np.uint8) for _ in range(3))
    labels[2:6, 2:6] = 1
    ignore[2:6, 9:15] = 1
    found[2:6, 2:6], found[2:6, 11:16], found[8, 2:4] = 5, 6, 7
    image = np.stack([labels, 3 * labels])
    frame = annotated_frame(image, labels, "set/01/t000", ignore > 0)
    scored = score_predictions([frame], [found], "a network")
    assert np.array_equal(scored.frames[0].image, 2.0 * labels), "the mean of the channels"
    assert scored.frames[0].score.mistakes.spurious.tolist() == [7]
    assert scored.score.frames[0].unjudged == 1
    assert scored.reference == "set/01"
    found[0, 18:] = 8  # wholly outside the field of interest
    scored = score_predictions([frame], [found], "a network", margin=1)
    assert scored.margin == 1
    assert scored.frames[0].score.mistakes.spurious.tolist() == [7]


@pytest.fixture
def scored():
    """A perfect frame, and one with a missed cell and a spurious object."""
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 5:15], labels[20:30, 30:45] = 1, 2
    wrong = np.where(labels == 2, 0, labels)
    wrong[:3, 45:] = 9
    frames = [annotated_frame(labels, labels, f"set/01/t00{n}") for n in range(2)]
    return score_predictions(frames, [labels, wrong], "a network")


def test_a_result_is_summarised(scored):
    facts = {"SEG": "0.7500", "reference cells": 4, "scored frames": 2, "mistakes": 2}
    assert score_facts(scored) == facts


def test_cells_and_objects_say_what_is_wrong_with_them(scored):
    section = frames_section(scored)
    for told in (
        "All 2 scored frames, worst first.",
        "1 missed, 1 spurious.",
        "2 cells, 2 objects; no mistakes.",
        ">cell 2: SEG 0.000, missed<",
        ">object 1 on cell 1: SEG 1.000<",
        ">object 9: spurious<",
    ):
        assert told in section, told
    few = frames_section(scored._replace(frames=scored.frames[:1]))
    assert "1 of 2 scored frames, those with the most mistakes or the worst cells.<" in few


def test_images_are_shown_where_there_are_any(scored):
    for missing in range(3):
        frames = [f._replace(image=None) for f in scored.frames[:missing]]
        section = frames_section(scored._replace(frames=frames + scored.frames[missing:]))
        assert ('data-layer="image"' in section) == (missing < 2)
        assert section.count("data:image/jpeg") == 2 - missing
        told = re.findall(r"No image was available for (\d) of them", section)
        assert told == [str(missing)] * (missing > 0)


def test_only_a_viewer_of_several_pictures_has_buttons_to_page():
    pictures = [
        Picture(title, Html(title), (3, 5), raster("data:,", (3, 5), "image")) for title in "ab"
    ]
    one, two = viewer("look", [], pictures[:1]), viewer("look", [], pictures)
    for told in ("next frame", "previous frame", "<select"):
        assert told not in one
        assert told in two
    assert re.findall(r'<p class="caption"( hidden)?>(.)</p>', two) == [
        ("", "a"),
        (" hidden", "b"),
    ]
    assert two.count('viewBox="0 0 5 3"') == two.count('width="5" height="3" class="image"') == 2
    assert two.count('class="away"') == 1


def test_the_worst_cells_are_shown_with_their_surroundings(scored):
    cards = re.findall(r"<li>(.*?)</li>", worst_section(scored))
    assert len(cards) == 4
    for told in ("SEG 0.000", "frame set/01/t001, cell 2", "missed", 'data-box="24 12 27 27"'):
        assert told in cards[0]
    assert all('data-box="-2 -2 24 24"' in card for card in cards if "cell 1" in card)


def test_frames_are_listed_worst_first_and_linked_if_shown(scored):
    section = scores_section(scored._replace(score=scored.score._replace(notes=["A note."])))
    assert re.findall(r'title="show frame ([^"]*)"', section) == ["set/01/t001", "set/01/t000"]
    assert "A note." in section
    few = scores_section(scored._replace(frames=scored.frames[:1]))
    assert re.findall(r'title="show frame ([^"]*)"', few) == ["set/01/t001"]
    assert "<td>set/01/t000</td>" in few


def test_a_reference_without_cells_has_no_worst_ones():
    nothing = np.zeros((40, 50), np.uint8)
    empty = score_predictions([annotated_frame(nothing, nothing, "a/b")], [nothing], "a network")
    assert "The reference has no cells." in worst_section(empty)
    assert "<figure" not in scores_section(empty)


def test_a_cell_lost_in_the_reduction_has_no_picture():
    labels = np.zeros((8, LARGEST_SIDE + 100), np.uint8)
    labels[0, 0] = 1
    scored = score_predictions([annotated_frame(labels, labels, "a/b")], [labels], "a network")
    assert "data-box" not in worst_section(scored)
    assert "frame a/b, cell 1" in worst_section(scored)
    assert "Shown at 1/2 of its size." in frames_section(scored)


def run_of(log=(), settings=None, defaults=None):
    return RunRecord("runs/a", "0.1.0", 1234567, settings or {}, defaults or {}, list(log))


LOG = [
    LogLine(100, 0.9, 5e-3, 0.1, 50.0, 0.0),
    LogLine(200, 0.25, 1e-3, 0.8, 70.0, 0.5),
    LogLine(300, 0.2, 0.0, None, 80.0, 0.25),
]


def test_a_run_is_summarised_by_its_last_lines():
    facts = {"iterations": 300, "training time": "3.3 min", "last loss": "0.2000"}
    facts |= {"last validation SEG": "0.8000", "parameters": "1,234,567"}
    assert run_facts(run_of(LOG)) == facts
    assert run_facts(run_of()) == {"parameters": "1,234,567"}


def test_a_run_without_validation_has_one_curve():
    both = training_section(run_of(LOG))
    alone = training_section(run_of(line._replace(validation_seg=None) for line in LOG))
    for section, curves in ((both, 2), (alone, 1), (training_section(run_of()), 0)):
        assert section.count("<svg") == curves
        assert ("No sequence was held out" in section) == (curves == 1)
        assert ("no log.csv" in section) == (curves == 0)


def test_changed_settings_are_shown_with_their_defaults():
    settings = {"network": {"depth": 3, "dropout": 0.5}, "class_weights": [1.25, 0.5]}
    settings |= {"frames": ["a/b"], "precision": "bfloat16", "data": "ab12"}
    section = settings_section(run_of((), settings, {"network": {"depth": 4, "dropout": 0.5}}))
    assert re.findall(r"<td>([^<]*)</td>", section) == [
        "3 (4)", "0.5",
        "unet2015 0.1.0", "foreground 1.25, background 0.5", "a/b", "bfloat16", "ab12",
    ]  # fmt: skip
    assert section.count('class="changed"') == 1
    assert "unet2015 0.1.0" in settings_section(run_of()), "of a model without a record"


def test_style_and_script_are_part_of_the_package():
    assert "prefers-color-scheme: dark" in _read("page.css")
    assert "</script" not in _read("page.js")
