"""The command line as a whole: commands loaded when asked for, errors in the house's form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from rnnctl import __version__, catalog
from rnnctl.cli import console, paths
from rnnctl.cli.idle import Idle, refuse_idle, rules_of
from rnnctl.cli.options import filled_in
from rnnctl.errors import UsageError

ARGUMENTS = "Arguments"
LAST = ("Run", "Output", "Machine", "Options")  # panels, in this order, after those before them
PLACEHOLDERS = {
    "<int range>": "N",
    "<float range>": "X",
    "<int>": "N",
    "<float>": "X",
    "<str>": "TEXT",
    "<path>": "PATH",
}
UNBROKEN = {" ": "\u00a0", "-": "\u2011"}  # a space and a hyphen at which no line may end
BROKEN_AGAIN = {ord(unbroken): plain for plain, unbroken in UNBROKEN.items()}
CONTEXT = {"help_option_names": ["--help", "-h"]}


class LazyGroup(TyperGroup):
    """Lists commands by the catalog's summaries; imports a command's module when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command in place of its stub; unknown names get the nearest ones as hint."""
        name = args[0]
        if name in catalog.COMMANDS:
            return name, load_command(name), args[1:]
        if ctx.resilient_parsing:  # shell completion of half a word
            # An error would be printed into the line that the person is typing.
            return None, None, args[1:]
        hint = catalog.suggestion(name, catalog.COMMANDS)
        raise UsageError(f"there is no command {name!r}", hint=hint)


class GroupedHelp(TyperCommand):
    """Plain help, the options under their `rich_help_panel` as headings.

    Rich's boxes would cost a tenth of a second and half of a narrow terminal.
    """

    idle_rules: tuple[Idle, ...] = ()
    values_left_out: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Values as they are meant, and only those that are possible (see `cli.paths`)."""
        if ctx.resilient_parsing:  # shell completion of half a command
            return list(super().parse_args(ctx, args))
        args = filled_in(args, self.values_left_out)
        parameters = self.get_params(ctx)
        # Parsed by itself first: afterwards nobody can tell what was typed from what is a default.
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        paths.refuse_empty(parameters, given)
        rest = super().parse_args(ctx, args)
        for parameter in parameters:
            if paths.takes_paths(parameter) and parameter.name in ctx.params:
                ctx.params[parameter.name] = paths.as_meant(ctx.params[parameter.name])
        paths.refuse_overwriting(parameters, ctx.params)
        # An option that is given its own default does no harm: scripts write such calls.
        named = {
            one.name: paths.called(one, ctx.params[one.name])
            for one in parameters
            if one.name in given and ctx.params[one.name] not in (one.get_default(ctx), [], ())
        }
        refuse_idle(self.idle_rules, ctx.params, named)
        return list(rest)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; --quiet, and places where nothing can be written, are dealt with here.

        Not while parsing: `rnnctl compare` parses the options of `train` to check them.
        """
        console.configure(quiet=bool(ctx.params.get("quiet")))
        for parameter in self.get_params(ctx):
            if parameter.name in paths.WRITTEN and parameter.name != "onnx":  # its folder is made
                option = "-o" if parameter.name == "output" else paths.called(parameter)
                console.check_output(ctx.params[parameter.name], option)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``RUN [FILE]...`` where typer writes ``{RUN} [[FILE]...]...``."""
        pieces = super().collect_usage_pieces(ctx)
        return [
            re.sub(r"^\{(.*)\}$|^\[(\[.*\](?:\.\.\.)?)\](?:\.\.\.)?$", r"\1\2", p) for p in pieces
        ]

    def get_help(self, ctx: Any) -> str:
        """The page, with ordinary characters where none may be broken."""
        return str(super().get_help(ctx)).translate(BROKEN_AGAIN)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments first, then the panels; those that many commands have come last."""
        sections: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                section = _section(parameter)
                names = _plain(record[0], argument=section == ARGUMENTS)
                said = _unbroken(_plain_facts(record[1]))
                sections.setdefault(section, []).append((names, said))
        place = {title: rank for rank, title in enumerate(LAST)}
        for title in sorted(sections, key=lambda title: place.get(title, -1)):
            if sections[title]:
                with formatter.section(title):
                    formatter.write_dl(sections[title])


def _plain(names: str, *, argument: bool) -> str:
    """Placeholders as manuals write them: ``--lr X`` for ``--lr <float>``."""
    if argument:  # its name is its placeholder
        return names.partition(" <")[0]
    names = re.sub(r"<list\[(.*?)\]>", r"<\1>", names)
    for written, placeholder in PLACEHOLDERS.items():
        names = names.replace(written, placeholder)
    return names


def _unbroken(text: str) -> str:
    """The text with options and short defaults in one piece: `BROKEN_AGAIN` undoes it."""
    text = re.sub(r"--[a-z-]+", lambda found: found[0].replace("-", UNBROKEN["-"]), text)
    return re.sub(
        r"\[default: [^\]]{1,20}\]", lambda found: found[0].replace(" ", UNBROKEN[" "]), text
    )


def _plain_facts(text: str) -> str:
    """``[default: 1; 0 to 1]`` for ``[default: 1; 0<=x<=1]``; no brackets in brackets.

    A range without an end, such as ``x>=1``, is left out: nobody expects a count below it.
    """
    said, bracket, facts = text.rpartition("  [")
    if not bracket:
        return text
    facts = re.sub(r"^default: \((.*?)\)(?=[;\]])", r"default: \1", facts)
    facts = re.sub(r"([^\s;]+)<=x<=([^\s\]]+)", r"\1 to \2", facts)
    facts = re.sub(r"(; |\b)x[<>]=?[^\s\];]+", "", facts).removeprefix("]")
    return said + (bracket + facts if facts else "")


def _section(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or "Options"


def load_command(name: str) -> Any:
    """The command of that name, its module imported, as an object that typer can run."""
    single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=CONTEXT)
    function = catalog.load("command", name)
    single.command(name=name, cls=GroupedHelp)(function)
    command: Any = get_command(single)
    command.idle_rules = rules_of(function)
    command.values_left_out = getattr(function, "values_left_out", {})
    command.name = name
    return command


def build_app() -> Any:
    """The group of all commands, without importing any of them."""
    app = typer.Typer(
        name="rnnctl",
        cls=LazyGroup,
        help="Train, use and compare recurrent text models, and measure what they remember.",
        epilog="`rnnctl train` without a corpus trains on the bundled paragraphs.",
        rich_markup_mode=None,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback()(_root)
    for name, (_, summary) in catalog.COMMANDS.items():
        app.command(name=name, help=summary)(_stub)
    return get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; errors are raised, for `rnnctl.__main__` to print.

    Returns the exit code. A command returns None or its exit code.
    """
    # A worker runs many commands in one process, and --quiet is of one of them.
    console.configure(quiet=False)
    for argument in arguments:
        _check_unicode(argument)
    if list(arguments) == ["version"]:  # what many tools call it
        arguments = ["--version"]
    code = build_app().main(args=list(arguments), prog_name="rnnctl", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _check_unicode(argument: str) -> None:
    """Settings and results are JSON, which cannot hold a name that is not Unicode."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"{ascii(argument)[1:-1]} is not valid UTF-8",
            hint="give the file or folder another name; text that is not UTF-8 comes through a "
            "pipe or a file",
        ) from None


def _stub() -> None:
    raise AssertionError("LazyGroup.resolve_command replaces every stub")


def _show_version(wanted: bool) -> None:
    if wanted:
        console.stdout_write(f"rnnctl {__version__}\n")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
