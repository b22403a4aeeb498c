"""`hfcount card MODEL`: the parameter section of a model card."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from hfcount.cli import options
from hfcount.cli.options import Format
from hfcount.cli.progress import say
from hfcount.errors import BadInput

if TYPE_CHECKING:
    from hfcount.reports.readme import Outcome
    from hfcount.result import Count

DEFAULT_RANKS = ("8", "16")
OF_THE_FOLDER = "README.md of the model's folder"
"""What stands for a path where `--write` or `--check` has none."""


class OptionalPaths(TyperCommand):
    """A command whose `--write` and `--check` may stand without a path, last or before another option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        filled = []
        for index, each in enumerate(args):
            bare = each in ("--write", "--check") and (index + 1 == len(args) or args[index + 1].startswith("-"))
            filled.append(f"{each}={OF_THE_FOLDER}" if bare else each)
        return super().parse_args(ctx, filled)


def command(
    model: options.Model,
    write: Annotated[
        str | None,
        typer.Option(
            metavar="[README.md]",
            help="Write the section between the markers of this file, at its end where it has none. "
            "Without a path: the README.md of MODEL, a folder.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="[README.md]",
            help="Write nothing; exit 1 if the file's section is out of date.",
            show_default=False,
        ),
    ] = None,
    lora_r: Annotated[
        list[str] | None,
        typer.Option(
            "--lora-r",
            metavar="R[,R...]",
            help="Ranks of the LoRA table, 8 and 16 unless given; repeatable.",
            show_default=False,
        ),
    ] = None,
    lora_targets: Annotated[
        str,
        typer.Option(metavar="SET|NAMES", help="default (PEFT's own), all-linear, attention, mlp, or module names."),
    ] = "default",
    no_lora: Annotated[bool, typer.Option("--no-lora", help="Leave the LoRA table out.")] = False,
    settings: options.Set = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    class_name: options.ClassName = None,
    format: options.FormatOption = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    trust_remote_code: options.TrustRemoteCode = False,
    timeout: options.Timeout = None,
    fast: options.Fast = False,
) -> int:
    """The parameter section of a model card in Markdown, to print, or to keep current between markers in a README.md.

    Example: [bold]hfcount card gpt2[/bold]
    """
    from hfcount.cli.output import chosen, tell_unshown
    from hfcount.reports.readme import check_readme, compare_section, write_section

    how = options.how(settings, revision, offline, class_name, trust_remote_code, timeout, fast)
    ranks = _ranks(lora_r, no_lora)
    written = chosen(format, output, without=(Format.html,))
    more = {
        "--lora-r": lora_r, "--lora-targets": lora_targets != "default", "--no-lora": no_lora, "--write": write,
        "--check": check,
    }  # fmt: skip
    for option in (option for option, given in more.items() if given):
        tell_unshown(option, written, (Format.table, Format.json, Format.markdown))  # CSV is the breakdown alone
    readme = _readme(model, write, check)
    if readme is not None:
        check_readme(readme, to_write=write is not None)

    from hfcount.api import count
    from hfcount.reports.card import card_section

    result = count(model, lora_r=ranks, lora_targets=lora_targets, **how)
    switches: list[tuple[str, Sequence[str]]] = [
        ("--lora-r", lora_r or ()),
        ("--lora-targets", (lora_targets,) if lora_targets != "default" else ()),
        ("--no-lora", ("",) if no_lora else ()),
        ("--set", settings or ()),
        ("--class", (class_name,) if class_name else ()),
        ("--revision", (revision,) if revision else ()),
        ("--fast", ("",) if fast else ()),
    ]
    section = card_section(result, _again(result, switches))
    outcome = None
    if readme is not None:
        outcome = write_section(readme, section) if write is not None else compare_section(readme, section)
    _tell(result)
    _answer(result, section, outcome, written, output, quiet)
    return 1 if (outcome is not None and outcome.state == "outdated") or not result.all_matches else 0


def _ranks(lora_r: list[str] | None, no_lora: bool) -> tuple[int, ...]:
    if no_lora and lora_r:
        raise BadInput("--no-lora and --lora-r: give one of them")
    return () if no_lora else options.ranks(lora_r or list(DEFAULT_RANKS))


def _readme(model: str, write: str | None, check: str | None) -> Path | None:
    """The file that is meant; None where the section is only to be printed. BadInput where it is not said which."""
    if write is not None and check is not None:
        raise BadInput("--write and --check: give one of them")
    named = write if write is not None else check
    if named is None:
        return None
    if named != OF_THE_FOLDER:
        return Path(named)
    from hfcount.sources.folder import is_model_folder

    if not is_model_folder(model):
        option = "--write" if write is not None else "--check"
        raise BadInput(f"{option}: {model} is no folder with a config.json; name the file, as in {option} README.md")
    path = Path(model).expanduser()
    return (path.parent if path.name == "config.json" else path) / "README.md"


def _again(result: Count, switches: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The command that writes the section again, as it is typed in the model's repository, for a README to show."""
    local = result.source.kind == "folder"
    words = ["hfcount", "card", "." if local else result.model]
    words += [word for option, values in switches for value in values for word in (option, value) if word]
    return " ".join(shlex.join([*words, "--write", *([] if local else ["README.md"])]).split())


def _tell(result: Count) -> None:
    """What is said on stderr: why the model was built after all, why there is no LoRA table."""
    from hfcount.cli.output import tell_detours
    from hfcount.reports.card import without_lora

    tell_detours([result])
    for reason in without_lora(result):
        say(f"{result.model}: no LoRA table: {reason}")


def _answer(
    result: Count, section: str, outcome: Outcome | None, written: Format, output: Path | None, quiet: bool
) -> None:
    """The section where it is only printed, else what became of the README."""
    from hfcount.cli.output import emit
    from hfcount.reports.card import card_document, card_text
    from hfcount.reports.csv import count_csv

    renderings: dict[Format, Callable[[], Any]] = {
        Format.json: lambda: card_document(result, section, outcome),
        Format.csv: lambda: count_csv(result),
        Format.markdown: lambda: card_text(section, outcome),
    }
    short = quiet and output is None  # a file is for the section
    bare = f"{outcome.state if outcome is not None else result.sizes.total}\n" if short else None
    renderings[Format.table] = renderings[Format.markdown]  # a card has one look
    emit(renderings, written, output, bare=bare)
