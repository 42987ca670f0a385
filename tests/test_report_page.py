"""The report in a real browser: no errors, switches, zoom, keys, phone and laptop, day and night.

Skipped without the package ``playwright`` and a Chromium at CHROMIUM (``apt install chromium``).
Screenshots go to pytest's temporary folder, or to UNET2015_SCREENSHOTS if that is set.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from unet2015.cli import main
from unet2015.datasets.synthetic import simulate, write_sequence
from unet2015.images import read_image, write_image

CHROMIUM = Path("/usr/bin/chromium")
SHOWN = "#frames .stage > svg:not(.away)"
SMALL = [
    *("--base-channels", "2", "--depth", "2"),
    *("--tile", "60", "--iterations", "4", "--interval", "1"),
]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, the usual user of containers.
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for sequence in ("01", "02"):
        cells = simulate(3, (140, 200), 20, np.random.default_rng(int(sequence)))
        write_sequence(folder / "data", sequence, cells)
    result = folder / "02_RES"
    result.mkdir()
    for number in range(3):
        truth = read_image(folder / f"data/02_GT/SEG/man_seg{number:03d}.tif")
        cells = np.roll(truth, number, axis=1)
        cells[cells == 1 + number] = 0
        write_image(result / f"mask{number:03d}.tif", cells)
    run, data = folder / "run", folder / "data"
    train = ["train", data, "--sequences", "01", "--validation-sequences", "02", "-o", run, *SMALL]
    assert main([str(word) for word in train]) == 0
    report = ["report", run, result, "--reference", data / "02_GT", "--data", data]
    assert main([str(word) for word in [*report, "-o", folder / "report.html"]]) == 0
    return folder / "report.html"


@pytest.fixture
def open_page(browser, page_file):
    """Open the report offline in a window; every complaint of the browser is an error."""
    complaints, contexts = [], []

    def opened(width=1280, height=800, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            offline=True,
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:80]))
        page.goto(page_file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def view_box(page):
    return [float(number) for number in page.get_attribute(SHOWN, "viewBox").split()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("laptop", 1280, 800), ("phone", 390, 844)])
def test_the_page_fits_laptop_and_phone_in_light_and_dark(
    open_page, page_file, name, width, height, scheme
):
    page = open_page(width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", background)[:3])
    assert (red + green + blue < 150) == (scheme == "dark")
    assert page.locator("section").count() == 6
    folder = Path(os.environ.get("UNET2015_SCREENSHOTS", page_file.parent))
    page.screenshot(path=folder / f"report-{name}-{scheme}.png", full_page=True)


def test_a_switch_hides_and_shows_its_layer(open_page):
    page = open_page()
    stroke = f"getComputedStyle(document.querySelector('{SHOWN} .result path')).stroke"
    shown = page.evaluate(stroke)
    button = page.locator("#frames [data-layer=result]")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert (shown, page.evaluate(stroke)) == ("rgb(255, 157, 46)", "none")
    button.click()
    assert (button.get_attribute("aria-pressed"), page.evaluate(stroke)) == ("true", shown)
    page.locator("#weighed [data-layer=weights]").click()
    assert not page.locator("#weighed image.weights").is_visible()
    assert page.locator("#weighed image.image").is_visible()


def test_buttons_and_keys_zoom_move_and_change_the_frame(open_page):
    page = open_page()
    assert view_box(page) == [0, 0, 200, 140]
    page.get_by_role("button", name="zoom in").first.click()
    assert view_box(page)[2] == pytest.approx(200 / 1.5)
    stage = page.locator("#frames .stage")
    stage.focus()
    before = view_box(page)
    stage.press("ArrowRight")
    assert view_box(page)[0] > before[0]
    title = page.get_attribute(SHOWN, "aria-label")
    stage.press("n")
    assert page.get_attribute(SHOWN, "aria-label") != title
    assert page.locator("#frames select").input_value() == "1"
    assert page.locator("#frames .caption:visible").count() == 1
    stage.press("0")
    assert view_box(page) == [0, 0, 200, 140]
    stage.press("e")
    assert page.get_attribute("#frames [data-layer=result]", "aria-pressed") == "false"
    page.locator("#frames select").select_option("2")
    assert page.locator("#frames .caption:visible").count() == 1


def test_all_controls_are_reachable_by_tab_with_visible_focus(open_page):
    page = open_page()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(at => at.dataset.layer || at.dataset.action || at.className || at.tagName)"
                "(document.activeElement)"
            )
        )
        if page.evaluate("document.activeElement.classList.contains('stage')"):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
    assert {"result", "in", "next", "stage", "SELECT", "SUMMARY", "scroll tall"} <= reached


def test_the_wheel_zooms_only_in_a_focused_picture(open_page):
    page = open_page()
    box = page.locator(SHOWN).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(300)
    assert view_box(page) == [0, 0, 200, 140]
    page.locator("#frames .stage").focus()  # which may scroll the page
    box = page.locator(SHOWN).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"document.querySelector('{SHOWN}').viewBox.baseVal.width < 190")
    left, top, width, height = view_box(page)
    assert left + width / 2 == pytest.approx(100, abs=1)
    assert top + height / 2 < 70  # the mouse is above the middle
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 60, box["y"] + 100)
    page.mouse.up()
    assert view_box(page)[0] > left


def test_clicking_a_worst_cell_zooms_to_it(open_page):
    page = open_page()
    card = page.locator("[data-box]").nth(1)
    x, y, side, _ = map(float, card.get_attribute("data-box").split())
    card.click()
    left, top, width, height = view_box(page)
    assert page.locator("#frames select").input_value() == card.get_attribute("data-frame")
    assert height == pytest.approx(side)
    assert left <= max(x, 0) + 1
    assert left + width >= min(x + side, 200) - 1
    assert top + height >= min(y + side, 140) - 1
    assert page.evaluate("document.activeElement.className").startswith("stage")


def test_two_fingers_zoom_on_a_touch_screen(open_page):
    page = open_page(390, 844, has_touch=True, is_mobile=True)
    page.locator("#frames .stage").scroll_into_view_if_needed()
    box = page.locator("#frames .stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)

    def touch(kind, *apart):
        points = [{"x": x + a, "y": y, "id": number} for number, a in enumerate(apart)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -20, 20)
    for apart in (30, 45, 60):
        touch("touchMove", -apart, apart)
    touch("touchEnd")
    page.wait_for_function(f"document.querySelector('{SHOWN}').viewBox.baseVal.width < 100")
