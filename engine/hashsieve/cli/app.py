"""The commands put together."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import shown
from . import alerts as alerts_command
from . import compile as compile_command
from . import cpu, demo, info, keygen, lists, lookup, output, scan, verify

__all__ = ["run"]

app = typer.Typer(
    name="hashsieve",
    help="Finds files that are on lists of known material, by digest alone. Works without a network.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compile")(compile_command.command)
app.command("info")(info.command)
app.command("verify")(verify.command)
app.command("lists")(lists.command)
app.command("lookup")(lookup.command)
app.command("scan")(scan.command)
app.command("keygen")(keygen.command)
app.command("cpu")(cpu.command)
app.command("demo")(demo.command)
app.add_typer(alerts_command.app)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --version: how this build works on this machine.")
    ] = False,
) -> None:
    if version:
        from .version import show_version

        show_version(verbose)
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        raise typer.BadParameter("name a command; see --help")


def run(argv: Sequence[str] | None = None) -> int:
    """Parses and runs; the exit code. Usage errors are printed here and give 2."""
    try:
        code = app(args=None if argv is None else list(argv), prog_name="hashsieve", standalone_mode=False)
    except typer.Abort:
        return 130
    except SystemExit:
        # Typer's way out when nobody reads its help any more; its 1 would mean a match here.
        raise output.ClosedPipe from None
    except Exception as problem:
        # Typer's own parsing errors share no public base class across its versions, but all can print themselves.
        if not (hasattr(problem, "show") and hasattr(problem, "exit_code")):
            raise
        text = io.StringIO()
        problem.show(file=text)
        for line in text.getvalue().splitlines():
            output.note(shown(line))
        return 2
    return code if isinstance(code, int) else 0
