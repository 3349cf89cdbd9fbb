"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["JsonOption", "SetOption", "SetsOption"]

SetsOption = Annotated[
    list[str], typer.Option("-s", "--set", metavar="SET", help="Compiled hash set; may be given again.")
]
SetOption = Annotated[str, typer.Argument(metavar="SET", help="Compiled hash set.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
