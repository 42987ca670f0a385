"""HTML that escapes whatever is not markup already."""

from __future__ import annotations

import html


class Html(str):
    """Text that is markup and goes onto the page as it is."""


def element(tag: str, *content: object, **attributes: object) -> Html:
    """Make an element.

    Parameters
    ----------
    tag : str
        Its name.
    *content : object
        `Html` is taken as it is; everything else is escaped. None is left out.
    **attributes : object
        ``class_`` stands for ``class`` and ``aria_label`` for ``aria-label``. True gives an
        attribute without a value; False and None give none.

    Examples
    --------
    >>> element("p", "1 < 2", element("br"), class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2<br></p>'
    """
    opening = tag + "".join(map(_attribute, attributes, attributes.values()))
    if tag in ("br", "img"):
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*content)}</{tag}>")


def join(*content: object) -> Html:
    """Concatenate pieces; everything but `Html` is escaped, None is left out."""
    return Html("".join(map(_escaped, content)))


def _escaped(piece: object) -> str:
    if piece is None:
        return ""
    return piece if isinstance(piece, Html) else html.escape(str(piece))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
