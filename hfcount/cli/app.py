"""The `hfcount` command: which command is meant, and what becomes of an error."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

try:
    from typer.core import CompletionItem  # typer carries its own click since 0.20
except ImportError:
    from click.shell_completion import CompletionItem  # type: ignore[assignment]

from hfcount._version import __version__
from hfcount.cli import app_command, audit, card, compare, count, env, explain, formula, memory, progress, solve
from hfcount.cli import list as list_command
from hfcount.cli.options import card_names_starting
from hfcount.cli.progress import say
from hfcount.cli.streams import ReaderLeft, open_streams
from hfcount.environment import cannot_import
from hfcount.errors import HfcountError
from hfcount.sources.hub_errors import check_endpoint

INTERRUPTED = 130
"""As a shell has it: 128 and the number of SIGINT."""

OWN_OPTIONS = ("--help", "-h", "--version", "--install-completion", "--show-completion")


class ModelFirst(TyperGroup):
    """`hfcount MODEL ...` means `hfcount count MODEL ...`, so that the main job is one word long."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in OWN_OPTIONS:
            args = ["count", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands, and the bundled models, since a model may stand where a command does."""
        models = [] if incomplete.startswith("-") else card_names_starting(incomplete)
        return [*super().shell_complete(ctx, incomplete), *(CompletionItem(name) for name in models)]


app = typer.Typer(
    cls=ModelFirst,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How many parameters a model has and where, why that is the number, and what training it costs. "
    "No weight is ever downloaded.\n\n"
    "[bold]hfcount gpt2 --lora-r 8[/bold] is the main job: `hfcount MODEL` is short for `hfcount count MODEL`.",
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hfcount {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Options of hfcount itself."""


app.command("count")(count.command)
app.command("formula")(formula.command)
app.command("solve")(solve.command)
app.command("explain")(explain.command)
app.command("compare")(compare.command)
app.command("memory")(memory.command)
app.command("audit")(audit.command)
app.command("card", cls=card.OptionalPaths)(card.command)
app.command("list")(list_command.command)
app.command("app")(app_command.command)
app.command("env")(env.command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; an error is one line on stderr, never a traceback."""
    _look_for_cycles_seldom()
    open_streams()
    sys.exit(run(arguments))


def hf_count() -> None:
    """The same as `hf count`, an extension of the `hf` client, which runs an executable called hf-count."""
    _look_for_cycles_seldom()
    open_streams()
    sys.exit(run(program="hf count"))


def _look_for_cycles_seldom() -> None:
    """torch and transformers are a million objects that stay; looking through them is a sixth of a count."""
    gc.set_threshold(50_000, 20, 20)


def run(arguments: Sequence[str] | None = None, *, program: str = "hfcount") -> int:
    """The exit code of the command line `arguments` (default: this process's); `program` is what was typed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if given and not set(OWN_OPTIONS) & set(given):
            check_endpoint()
        with progress.watched(given):
            code = app(args=given, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except HfcountError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except ReaderLeft:
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # an error of usage, from the parser of options
            message = error.format_message()  # empty where nothing was typed and the help was shown
            return _complain(f"{message} (see hfcount --help)", 2) if message else 0
        if type(error).__name__ == "Abort":
            return _complain("interrupted", INTERRUPTED)
        reason = _no_folder(error) or cannot_import(error)
        if reason:
            return _complain(reason, 2)
        if os.environ.get("HFCOUNT_DEBUG"):
            raise
        name = f"{type(error).__name__}: {error}".splitlines()[0]
        return _complain(f"a fault in hfcount itself ({name}); HFCOUNT_DEBUG=1 shows where, please report it", 2)


def _no_folder(error: Exception) -> str | None:
    """A line where `error` came up because the folder that the command was started in is gone."""
    if isinstance(error, FileNotFoundError):
        try:
            Path.cwd()
        except FileNotFoundError:
            return "the working folder is gone; change to one that is there"
    return None


def _complain(message: str, code: int) -> int:
    say(" ".join(message.split()))
    return code
