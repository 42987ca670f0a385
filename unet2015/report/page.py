"""The page: its sections, style and script in one HTML file that needs nothing else."""

from __future__ import annotations

import logging
from datetime import date
from importlib import resources
from pathlib import Path

from .. import __version__
from ..atomic import atomic_path, check_writable
from ..errors import InputError, counted
from .content import Report
from .html import Html, element, join
from .runsections import run_facts, settings_section, training_section, weight_section
from .scoresections import frames_section, score_facts, scores_section, worst_section

logger = logging.getLogger(__name__)

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Makes the browser itself refuse to load anything from elsewhere."""


def check_page(path: Path) -> None:
    """Refuse, before the report is made, a path that `write_page` could not write to.

    Raises
    ------
    InputError
        If it does not end in .html or .htm, or cannot be written to.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} must end in .html or .htm: name the report like report.html.")
    check_writable(path)


def write_page(path: Path, report: Report) -> None:
    """Write a report; its folder is created if needed. `check_page` checks its path.

    Parameters
    ----------
    path : Path
        The page, replaced if it exists.
    report : Report
        Its contents.
    """
    page = render(report)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    logger.info("Report: %s (%.1f MB).", path, path.stat().st_size / 1e6)


def render(report: Report) -> str:
    """Make the HTML of a report."""
    sections: dict[str, tuple[str, Html]] = {}
    scored, run = report.scored, report.run
    if scored is not None:
        sections["look"] = ("Frames", frames_section(scored))
        sections["worst"] = ("Worst cells", worst_section(scored))
        sections["scores"] = ("Scores", scores_section(scored))
    if run is not None:
        sections["training"] = ("Training", training_section(run))
    if report.weighed is not None:
        sections["weights"] = ("Weight map", weight_section(report.weighed))
    if run is not None:
        sections["settings"] = ("Settings", settings_section(run))
    links = [
        element("li", element("a", title, href=f"#{name}")) for name, (title, _) in sections.items()
    ]
    facts = {**(score_facts(scored) if scored else {}), **(run_facts(run) if run else {})}
    boxes = [
        element("div", element("dt", name), element("dd", value)) for name, value in facts.items()
    ]
    header = element(
        "header",
        element("h1", report.title),
        _subject(report),
        element("dl", *boxes, class_="facts"),
        element("nav", element("ul", *links), aria_label="sections"),
    )
    main = element(
        "main",
        *(
            element("section", element("h2", title, id=name), content, aria_labelledby=name)
            for name, (title, content) in sections.items()
        ),
    )
    footer = element(
        "footer",
        element("p", f"Written on {date.today().isoformat()} by unet2015 {__version__}."),
    )
    body = element("body", header, main, footer, _script())
    return f'<!DOCTYPE html>\n<html lang="en">{_head(report.title)}{body}</html>\n'


def _subject(report: Report) -> Html:
    """Name the run and the result."""
    run, scored = report.run, report.scored
    trained = measured = None
    if run is not None:
        frames = len(run.settings.get("frames", []))
        on = f" on {counted(frames, 'annotated frame')}" if frames else ""
        trained = element("p", "Training run ", element("b", run.name), f"{on}.")
    if scored is not None:
        measured = element(
            "p",
            "Result ", element("b", scored.result),
            " scored against the reference ", element("b", scored.reference), ".",
        )  # fmt: skip
    return join(trained, measured)


def _head(title: str) -> Html:
    return element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<link rel="icon" href="data:,">'),
        element("title", title),
        element("style", Html(_read("page.css"))),
    )


def _script() -> Html:
    note = "Without JavaScript the first frame is shown, and nothing can be switched or zoomed."
    return join(element("noscript", element("p", note)), element("script", Html(_read("page.js"))))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
