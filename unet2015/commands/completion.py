"""Print a shell script that completes commands and options.

* bash: unet2015 completion bash > ~/.local/share/bash-completion/completions/unet2015
* zsh: unet2015 completion zsh > ~/.unet2015.zsh, and in ~/.zshrc: source ~/.unet2015.zsh
* fish: unet2015 completion fish > ~/.config/fish/completions/unet2015.fish
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import tyro
from tyro.conf import Positional

from ..cli import COMMANDS, LEVELS

BASH = """_unet2015() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words="" at=1
    while [[ $at -lt $COMP_CWORD && "${{COMP_WORDS[at]}}" == -* ]]; do
        at=$((at + 1))
    done
    if [ "$COMP_CWORD" -eq "$at" ]; then
        words="{commands} --help --version {levels}"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[at]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _unet2015 unet2015
"""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 completion``."""

    shell: Positional[Literal["bash", "zsh", "fish"]]
    """The shell."""


def run(options: Options) -> None:
    """Print the script."""
    os.environ["COLUMNS"] = "200"  # help pages cut long names in a narrow terminal
    known = {name: flags(name) for name in COMMANDS}
    if options.shell == "fish":
        print(_fish(known))
        return
    if options.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    cases = [f'        {name}) words="{" ".join(known[name])}";;' for name in known]
    script = BASH.format(commands=" ".join(known), levels=" ".join(LEVELS), cases="\n".join(cases))
    print(script, end="")


def flags(command: str) -> list[str]:
    """Long options of a command, read from its help page."""
    module = importlib.import_module(f".{command}", __package__)
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        tyro.cli(module.Options, args=["--help"])
    named = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page.getvalue())
    return [*dict.fromkeys(named), *LEVELS]


def _fish(known: Mapping[str, Sequence[str]]) -> str:
    lines = [
        f"complete -c unet2015 -n __fish_use_subcommand -a {name} -d '{COMMANDS[name]}'"
        for name in known
    ]
    lines += [
        f"complete -c unet2015 -n '__fish_seen_subcommand_from {name}' -l {flag[2:]}"
        for name, words in known.items()
        for flag in words
    ]
    return "\n".join(lines)
