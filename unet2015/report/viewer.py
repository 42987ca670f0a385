"""Pictures with zoom and layers that can be switched: markup for page.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .html import Html, element, join
from .outlines import Box


class Layer(NamedTuple):
    """Something that a button switches on and off."""

    name: str
    """Also its CSS class."""
    key: str
    """The key that switches it."""
    label: str


class Picture(NamedTuple):
    """One of the pictures of a viewer."""

    title: str
    caption: Html
    shape: tuple[int, int]
    """Height and width in pixels."""
    content: Html
    """Content of its SVG, in pixel coordinates."""


def viewer(name: str, layers: Sequence[Layer], pictures: Sequence[Picture]) -> Html:
    """Make a viewer of one or several pictures.

    Parameters
    ----------
    name : str
        Unique on the page.
    layers : sequence of Layer
        Layers that can be switched.
    pictures : sequence of Picture
        At least one; the first is shown initially.
    """
    stage = element(
        "div",
        *(_drawing(name, number, picture) for number, picture in enumerate(pictures)),
        class_="stage",
        tabindex=0,
        role="group",
        aria_label="Picture; keys are listed below it",
    )
    captions = [
        element("p", picture.caption, class_="caption", hidden=number > 0)
        for number, picture in enumerate(pictures)
    ]
    return element(
        "div",
        _bar(layers, pictures),
        stage,
        element("div", *captions, aria_live="polite"),
        _keys(layers, several=len(pictures) > 1),
        class_="viewer",
        id=name,
    )


def raster(uri: str, shape: tuple[int, int], layer: str) -> Html:
    """Place an image of pixels."""
    return element("image", href=uri, width=shape[1], height=shape[0], class_=layer)


def outline_layer(
    layer: str, paths: Mapping[int, str], attributes: Mapping[int, tuple[str, str]]
) -> Html:
    """Place outlines, each with a class and a title, both of which may be empty."""
    drawn = []
    for label, path in paths.items():
        kind, title = attributes.get(label, ("", ""))
        named = element("title", title) if title else None
        drawn.append(element("path", named, d=path, class_=kind or None))
    return element("g", *drawn, class_=layer, transform="scale(.5)")


def thumbnail(name: str, number: int, window: Box, marked: Box) -> Html:
    """Show a window of a viewer's picture again, with a frame around the `marked` box."""
    x, y, width, height = marked
    return element(
        "svg",
        element("use", href=f"#{name}-pixels-{number}"),
        element("rect", x=x - 1, y=y - 1, width=width + 2, height=height + 2),
        viewBox=" ".join(map(str, window)),
        aria_hidden="true",
    )


def _drawing(name: str, number: int, picture: Picture) -> Html:
    height, width = picture.shape
    return element(
        "svg",
        element("g", picture.content, id=f"{name}-pixels-{number}"),
        viewBox=f"0 0 {width} {height}",
        data_width=width,
        data_height=height,
        role="img",
        aria_label=picture.title,
        class_=None if number == 0 else "away",
    )


def _bar(layers: Sequence[Layer], pictures: Sequence[Picture]) -> Html:
    switches = [
        element(
            "button",
            element("span", class_=f"swatch {layer.name}", aria_hidden="true"),
            layer.label,
            type="button",
            data_layer=layer.name,
            aria_pressed="true",
            aria_keyshortcuts=layer.key,
        )
        for layer in layers
    ]
    zoom = [
        _button("−", "zoom out", "out"),
        _button("+", "zoom in", "in"),
        _button("Fit", "whole picture", "fit"),
    ]
    return element(
        "div",
        _chooser(pictures) if len(pictures) > 1 else None,
        element("div", *switches, class_="group", role="group", aria_label="layers"),
        element("div", *zoom, class_="group", role="group", aria_label="zoom"),
        class_="bar-of-buttons",
    )


def _chooser(pictures: Sequence[Picture]) -> Html:
    choices = [
        element("option", picture.title, value=number) for number, picture in enumerate(pictures)
    ]
    return element(
        "div",
        _button("‹", "previous frame", "previous"),
        element("select", *choices, aria_label="frame", autocomplete="off"),
        _button("›", "next frame", "next"),
        class_="group",
    )


def _button(text: str, label: str, action: str) -> Html:
    return element("button", text, type="button", data_action=action, aria_label=label, title=label)


def _keys(layers: Sequence[Layer], several: bool) -> Html:
    keys = {layer.key: layer.label.lower() for layer in layers}
    keys |= {"+": "zoom in", "-": "zoom out", "0": "whole picture", "arrows": "move"}
    if several:
        keys |= {"n": "next frame", "p": "previous frame"}
    listed = [join(element("kbd", key), f" {what} ") for key, what in keys.items()]
    return element(
        "p",
        element(
            "span",
            "With the picture in focus (click it, or Tab): ",
            *listed,
            "· the wheel zooms, dragging moves. ",
            class_="keyboard",
        ),
        "On a touch screen two fingers zoom and move.",
        class_="keys",
    )
