"""Options that several commands share, and how their values are read.

Wherever a command opens sets, :func:`opens_sets` gives it the same four options and hands them to it as one
:class:`Opening`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..hashset.hashset import HashSet

__all__ = [
    "ConfigOption",
    "JournalKeyOption",
    "JournalOption",
    "JsonOption",
    "Opening",
    "SealKeysOption",
    "SetOption",
    "SetsOption",
    "opens_sets",
]

SetsOption = Annotated[
    list[str], typer.Option("-s", "--set", metavar="SET", help="Compiled hash set; may be given again.")
]
SetOption = Annotated[str, typer.Argument(metavar="SET", help="Compiled hash set.")]
JournalOption = Annotated[str, typer.Option("--journal", metavar="DIR", help="Directory of the alert journal.")]
JournalKeyOption = Annotated[
    str | None,
    typer.Option("--journal-key", metavar="SRC", help="Secret of the journal: fd:N, file:PATH or env:NAME."),
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE.toml", help="Settings of alerts and their sinks.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SealKeysOption = Annotated[
    list[str] | None,
    typer.Option("--seal-key", metavar="SRC", help="Key of sealed sets: fd:N, file:PATH or env:NAME; repeatable."),
]
_SignatureOption = Annotated[
    str | None,
    typer.Option("--require-signature", metavar="FILE", help="Only sets signed by a public key of this file."),
]
_GenerationOption = Annotated[
    int, typer.Option("--min-generation", metavar="N", min=0, help="Only sets of this generation or a newer one.")
]
_ValidOption = Annotated[bool, typer.Option("--require-valid", help="Only sets whose end of validity has not passed.")]


@dataclass
class Opening:
    """How a command opens sets: the values of its options. Keys and trusted keys are read once, for all its sets."""

    seal_keys: tuple[str, ...] = ()
    require_signature: str | None = None
    min_generation: int = 0
    require_valid: bool = False
    _asked: dict[str, Any] | None = field(default=None, repr=False)

    @contextmanager
    def open(self, path: str, *, load: Iterable[str] | None = None) -> Iterator[HashSet]:
        """An open set for the time of the block."""
        from ..hashset.hashset import HashSet
        from ..hashset.seal import SealKey
        from ..hashset.signature import trusted_of

        with ExitStack() as stack:
            if self._asked is None:
                keys = [SealKey.load(source) for source in self.seal_keys]
                trusted = None if self.require_signature is None else trusted_of(self.require_signature)
                self._asked = {"seal_key": keys or None, "trusted_keys": trusted}
            opened = HashSet.open(
                path,
                load=load,
                minimum_generation=self.min_generation,
                require_valid=self.require_valid,
                **self._asked,
            )
            yield stack.enter_context(opened)

    def close(self) -> None:
        """Wipes the keys that were read."""
        for key in (self._asked or {}).get("seal_key") or ():
            key.close()
        self._asked = None


def opens_sets(command: Callable[..., int]) -> Callable[..., int]:
    """A command that opens sets: gives it their options, in place of its parameter ``opening``."""
    options = (
        ("seal_key", SealKeysOption, None),
        ("require_signature", _SignatureOption, None),
        ("min_generation", _GenerationOption, 0),
        ("require_valid", _ValidOption, False),
    )

    @functools.wraps(command)
    def wrapped(*arguments: Any, **given: Any) -> int:
        keys, signature, generation, valid = (given.pop(name) for name, _, _ in options)
        opening = Opening(tuple(keys or ()), signature, generation, valid)
        try:
            return command(*arguments, opening=opening, **given)
        finally:
            opening.close()

    own = inspect.signature(command, eval_str=True)
    kept = [parameter for name, parameter in own.parameters.items() if name != "opening"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in options
    ]
    described: Any = wrapped
    described.__signature__ = own.replace(parameters=[*kept, *added])
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *added)}
    return wrapped
