"""Sections about a training run: its curves, its weight map, its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..progress import duration
from .charts import curve
from .content import RunRecord, WeighedFrame
from .html import Html, element, join
from .outlines import outlines
from .rasters import colour_bar, grey_uri, reduce_labels, reduction, weights_uri
from .table import show, table
from .viewer import Layer, Picture, outline_layer, raster, viewer

LAYERS = (
    Layer("image", "i", "Image"),
    Layer("weights", "w", "Weights"),
    Layer("cells", "c", "Cells"),
)
GROUPS = {
    "network": "Network",
    "training": "Training",
    "augmentation": "Augmentation",
    "weight_map": "Weight map",
}


def run_facts(run: RunRecord) -> dict[str, object]:
    """Summarise a run in a few numbers."""
    facts: dict[str, object] = {}
    if run.log:
        facts["iterations"] = run.log[-1].iteration
        facts["training time"] = duration(sum(line.seconds for line in run.log))
        facts["last loss"] = show(run.log[-1].loss)
        scores = [line.validation_seg for line in run.log if line.validation_seg is not None]
        if scores:
            facts["last validation SEG"] = show(scores[-1])
    facts["parameters"] = f"{run.parameters:,}"
    return facts


def training_section(run: RunRecord) -> Html:
    """Draw loss and validation SEG over the iterations."""
    if not run.log:
        return element("p", "The run has no log.csv, so there are no curves.")
    losses = [(line.iteration, line.loss) for line in run.log]
    scores = [(line.iteration, seg) for line in run.log if (seg := line.validation_seg) is not None]
    charts = [curve(losses, ("iteration", "weighted cross-entropy"), kind="loss")]
    if scores:
        charts.append(curve(scores, ("iteration", "validation SEG"), highest=1, kind="seg"))
    rows = [
        (line.iteration, line.loss, f"{line.learning_rate:.3g}", line.validation_seg,
         f"{line.seconds:.1f}", f"{line.waiting_share:.1%}")
        for line in run.log
    ]  # fmt: skip
    columns = ("iteration", "loss", "learning rate", "validation SEG", "seconds", "waiting")
    return join(
        element("div", *charts, class_="columns"),
        None if scores else element("p", "No sequence was held out for validation.", class_="note"),
        element(
            "details",
            element("summary", "The log in numbers"),
            table("training log", columns, rows),
        ),
    )


def weight_section(frame: WeighedFrame) -> Html:
    """Show a training frame with the weight map over it."""
    factor = reduction(frame.labels.shape)
    labels = reduce_labels(frame.labels, factor)
    shape = (labels.shape[0], labels.shape[1])
    content = join(
        raster(grey_uri(frame.image, factor), shape, "image"),
        raster(weights_uri(frame.weights, factor), shape, "weights"),
        outline_layer("cells", outlines(labels), {}),
    )
    caption = join(
        element("b", frame.name),
        ": the weight w(x) of each pixel in the loss. Switch the weights off to see the image.",
    )
    picture = Picture(f"weight map of {frame.name}", caption, shape, content)
    return join(viewer("weighed", LAYERS, [picture]), colour_bar(frame.weights))


def settings_section(run: RunRecord) -> Html:
    """List all settings, changed ones in bold and with their defaults."""
    groups = [
        element("div", element("h3", title), _group(dict(_rows(run, group))))
        for group, title in GROUPS.items()
        if group in run.settings
    ]
    return join(
        element("p", "Bold: not the default, which is in brackets.", class_="note"),
        element("div", *groups, class_="columns"),
        element("h3", "Data"),
        _group(_data(run)),
    )


def _rows(run: RunRecord, group: str) -> Iterator[tuple[str, tuple[object, bool]]]:
    defaults = run.defaults.get(group, {})
    for name, value in run.settings[group].items():
        default = defaults.get(name, value)
        changed = value != default
        text = _short(value) + (f" ({_short(default)})" if changed else "")
        yield name.replace("_", " "), (text, changed)


def _data(run: RunRecord) -> dict[str, tuple[object, bool]]:
    rows: dict[str, tuple[object, bool]] = {"written by": (f"unet2015 {run.version}", False)}
    if "class_weights" in run.settings:
        foreground, background = run.settings["class_weights"]
        text = f"foreground {foreground:.4g}, background {background:.4g}"
        rows["class weights"] = (text, False)
    if "frames" in run.settings:
        rows["training frames"] = (", ".join(run.settings["frames"]), False)
    if "precision" in run.settings:
        rows["precision"] = (run.settings["precision"], False)
    if "data" in run.settings:
        rows["SHA-256 of the data"] = (run.settings["data"], False)
    return rows


def _group(rows: dict[str, tuple[object, bool]]) -> Html:
    lines = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", value),
            class_="changed" if changed else None,
        )
        for name, (value, changed) in rows.items()
    ]
    return element("div", element("table", *lines, class_="words settings"), class_="scroll")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
