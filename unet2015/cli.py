"""The command line: finds the command, reports user errors in one sentence with exit code 2.

Each command lives in a module of `unet2015.commands` with a dataclass ``Options``, from which tyro
makes the flags, and a function ``run(options)``. A module is imported only when its command is
called, so that ``unet2015 --help`` is instant and ``unet2015 weightmap`` never loads torch.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, NoReturn, TextIO

from . import __version__
from .errors import InputError, brief

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

logger = logging.getLogger(__name__)

COMMANDS = {
    "demo": "synthetic cells: train, predict, label and score, in a few minutes",
    "fetch": "download the data sets of the paper",
    "train": "train the network on a Cell Tracking Challenge folder or on image/label pairs",
    "predict": "segment images, stacks and whole sequences tile by tile",
    "track": "link the numbered cells of a sequence into tracks",
    "evaluate": "score a result against its reference: SEG, DET, TRA, AP, PQ, EM measures",
    "report": "write an HTML page about a training run, a result, or both",
    "weightmap": "compute border weight maps w(x) from label images",
    "export": "write a model for other programs: bioimage.io package, ONNX, TorchScript",
    "models": "list the models that come with unet2015",
    "info": "print versions, device, engines and available models",
    "completion": "print a shell script that completes commands and options",
}

LEVELS = {"--quiet": logging.WARNING, "--verbose": logging.DEBUG}

EXIT_INTERNAL_ERROR = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

SHARING_VIOLATIONS = (5, 32)
"""Errors of Windows on renaming or deleting a file that another program has open."""

SPINS = "1000"
"""Turns that a waiting thread of GNU OpenMP spins before it sleeps. The default, 300 times as many,
makes training eight times slower where another program keeps one of two cores busy."""

REASON_LENGTH = 200
"""Characters shown of another library's error."""
SMALLER = {"train": "--tile", "predict": "--tile, with --overwrite if a run was interrupted"}
"""What to reduce where memory is short; in other commands, the image."""


def run() -> NoReturn:
    """Run the command line, and exit the process with its status."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when PyTorch is imported
    if isinstance(sys.stdout, io.TextIOWrapper):  # for names that Windows cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left for a second Ctrl-C to interrupt
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0 for success, 1 for an internal error, 2 for a user error (either prints one sentence to
        standard error, with --verbose also the traceback), 130 for Ctrl-C.
    """
    words, level = _take_level(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(format="%(message)s", handlers=[_LinesOfTheirOwn(sys.stderr)])
    logging.getLogger(__package__).setLevel(level)  # not for matplotlib, Zarr and Dask
    try:
        with _bars(shown=level <= logging.INFO):
            _dispatch(words)
        _flush()
    except InputError as error:
        logger.debug("", exc_info=True)
        return _fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return 0
    except OSError as error:
        logger.debug("", exc_info=True)
        return _fail(_describe(error))
    except KeyboardInterrupt as error:
        print(": ".join(["unet2015: interrupted", *error.args]) + ".", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        logger.debug("", exc_info=True)
        if _lacks_memory(error):
            reason = brief(error, REASON_LENGTH) or "no details"
            smaller = SMALLER.get(words[0], "image")
            return _fail(f"not enough memory ({reason}): use a smaller {smaller}.")
        return _fail(
            f"internal error, {repr(error)[:REASON_LENGTH]}: please report it with the output of "
            "--verbose.",
            EXIT_INTERNAL_ERROR,
        )
    finally:
        with suppress(OSError):
            _flush()
    return 0


def _dispatch(words: Sequence[str]) -> None:
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
    elif words[0] == "--version":
        print(f"unet2015 {__version__}")
    elif words[0] in COMMANDS:
        _run(words[0], words[1:])
    else:
        raise InputError(f"unknown command {words[0]!r}: choose one of {', '.join(COMMANDS)}.")


def _flush() -> None:
    """Flush the output, so that a full disk or a closed pipe raises here and not at exit."""
    try:
        if sys.stdout is not None:  # None without a console
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for the rest of the output
        raise


def _take_level(arguments: Sequence[str]) -> tuple[list[str], int]:
    """Split off --quiet and --verbose, which all commands have, as a logging level."""
    words = [word for word in arguments if word not in LEVELS]
    given = [LEVELS[word] for word in arguments if word in LEVELS]
    return words, given[-1] if given else logging.INFO


class _LinesOfTheirOwn(logging.StreamHandler[TextIO]):
    """Writes messages above progress bars rather than behind them."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:  # importing it would slow down commands without bars
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def _bars(shown: bool) -> AbstractContextManager[None]:
    if shown:
        return nullcontext()
    from .progress import hidden_bars

    return hidden_bars()


def _run(command: str, arguments: Sequence[str]) -> None:
    import tyro

    module = importlib.import_module(f".commands.{command}", __package__)
    try:
        options = tyro.cli(
            module.Options,
            prog=f"unet2015 {command}",
            description=module.__doc__,
            args=list(arguments),
            config=(tyro.conf.DisallowNone,),  # optional values are left out, not given as None
        )
    except SystemExit as error:
        greedy = [word for word in arguments if _takes_several(module.Options, word)]
        if error.code and greedy and arguments[0].startswith("-"):
            print(
                f"unet2015: {greedy[0]} takes all words that follow it: name files and folders "
                "first, then options.",
                file=sys.stderr,
            )
        _flush()  # a help page
        raise
    logger.debug("%s", options)
    module.run(options)


def _takes_several(options: type[DataclassInstance], word: str) -> bool:
    """Whether a word of the command line is an option with any number of values."""
    return any(
        word == f"--{field.name.replace('_', '-')}" and ", ...]" in str(field.type)
        for field in dataclasses.fields(options)
    )


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unet2015 COMMAND [OPTIONS]",
            "",
            "The U-Net of 2015: valid convolutions, overlap tiles, border weight maps.",
            "",
            "commands:",
            *lines,
            "",
            "options of every command:",
            "  -h, --help  show the command's options and their defaults",
            "  --quiet     show only warnings and errors",
            "  --verbose   show more information, and tracebacks of errors",
            "",
            "unet2015 --version prints the version. Exit status: 0 success, 1 internal error,",
            "2 bad input, 130 interrupted.",
        ]
    )


def _lacks_memory(error: Exception) -> bool:
    """Whether NumPy or PyTorch (CPU or GPU) ran out of memory, without importing PyTorch."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _describe(error: OSError) -> str:
    if not error.strerror or error.filename is None:
        return str(error)
    if getattr(error, "winerror", None) not in SHARING_VIOLATIONS:
        return f"{error.filename}: {error.strerror}."
    name = error.filename if error.filename2 is None else error.filename2
    return f"{name}: {error.strerror}; it may be open in another program."


def _fail(message: str, status: int = EXIT_USER_ERROR) -> int:
    print(f"unet2015: {message}", file=sys.stderr)
    return status
