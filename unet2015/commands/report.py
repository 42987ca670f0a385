"""Write one self-contained HTML page about a training run, a result, or both.

Give the folder of a training run, a result with its --reference, one of each, or the folder of a
demo, which holds both. The page shows curves and settings of the run, frames with the outlines of
reference and result, the worst cells, and the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ..errors import InputError
from ..labelfiles.labelfolder import Components
from ..report import Report, check_page, write_page
from ..report.gathering import is_run, read_demo, read_run, score_result, training_frames, weigh


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 report``."""

    sources: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="FOLDER [FOLDER]", help_behavior_hint="(required)"),
    ]
    """Folder of a run, a result, one of each, or the folder of a demo."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """HTML page to write."""
    reference: Path | None = None
    """Ground truth of the result, such as NN_GT."""
    images: Path | None = None
    """Folder of the microscope images; by default NN next to NN_GT, or images next to labels."""
    margin: int = 0
    """Width in pixels of the border outside the field of interest, as in `unet2015 evaluate`."""
    connected_components: Components = "none"
    """Count components of masks as cells, as in `unet2015 evaluate`."""
    data: Path | None = None
    """Training data set of the run, to show the weight map of one of its frames."""


def run(options: Options) -> None:
    """Gather the contents of the page and write it."""
    check_page(options.out)
    if len(options.sources) == 1 and is_run(options.sources[0] / "run"):
        if _about_result(options) or options.data:
            raise InputError(
                f"{options.sources[0]} is the folder of a demo, whose data are known: leave out "
                "--reference, --images, --margin, --connected-components and --data."
            )
        report = read_demo(options.sources[0])
    else:
        report = _gather(options)
    write_page(options.out, report)


def _gather(options: Options) -> Report:
    trained, result = _sort(options.sources)
    if trained is None and options.data is not None:
        raise InputError("--data belongs to a training run: give the folder of the run, too.")
    if result is None and _about_result(options):
        raise InputError(
            "--reference, --images, --margin and --connected-components are for a result: give the "
            "result, too."
        )
    if result is not None and options.reference is None:
        raise InputError(
            f"{result} is not a training run, as it holds no model.safetensors: if it is a result, "
            "give its ground truth with --reference."
        )
    record = None if trained is None else read_run(trained)
    weighed = None
    if record is not None and options.data is not None:
        weighed = weigh(training_frames(options.data, record.settings), record.settings)
    scored = None
    if result is not None and options.reference is not None:
        scored = score_result(
            options.reference, result, options.margin, options.images, options.connected_components
        )
    names = [path.resolve().name for path in (trained, result) if path is not None]
    return Report(f"unet2015: {' and '.join(names)}", record, weighed, scored)


def _about_result(options: Options) -> bool:
    components = options.connected_components != "none"
    return bool(options.reference or options.images or options.margin or components)


def _sort(sources: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """Tell the folder of a run and the result apart."""
    for source in sources:
        if not source.exists():
            raise InputError(f"{source} does not exist: correct its name.")
    runs = [source for source in sources if is_run(source)]
    results = [source for source in sources if not is_run(source)]
    if not sources or len(runs) > 1 or len(results) > 1:
        raise InputError(
            f"{len(runs)} training runs and {len(results)} results were given: "
            "give one run, one result, or one of each."
        )
    return runs[0] if runs else None, results[0] if results else None
