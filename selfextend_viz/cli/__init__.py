"""The command line: ``selfextend-viz show``, ``lab``, ``doctor``, ``passkey`` and the others, put together."""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from selfextend_viz import __version__
from selfextend_viz.cli.ask import describe, suggest
from selfextend_viz.cli.bench import bench
from selfextend_viz.cli.choosing import choose, recommend
from selfextend_viz.cli.comparing import compare
from selfextend_viz.cli.evaluation import evaluate
from selfextend_viz.cli.heads import divergence
from selfextend_viz.cli.health import doctor
from selfextend_viz.cli.likelihood import perplexity
from selfextend_viz.cli.planning import plan
from selfextend_viz.cli.retrieval import passkey
from selfextend_viz.cli.show import show
from selfextend_viz.cli.start import lab, train_demo
from selfextend_viz.cli.sweeping import sweep
from selfextend_viz.cli.verify import verify


class SentencesNotTracebacks(TyperGroup):
    """Turns the user's mistakes into one line on stderr and exit code 2, and warnings into notes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; ``--traceback`` lets exceptions through."""
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _note
            try:
                return super().invoke(ctx)
            except (ValueError, TypeError, OSError, ImportError) as error:
                if ctx.params.get("traceback") or getattr(error, "errno", None) == errno.EPIPE:
                    raise
                typer.echo(f"selfextend-viz: {_first_line(error)}", err=True)
                raise typer.Exit(2) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    sys.stderr.write(f"note: {message}\n")


app = typer.Typer(
    cls=SentencesNotTracebacks,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"selfextend-viz {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of an error.")] = False,
) -> None:
    """See why a RoPE language model breaks past its trained length, and how Self-Extend mends it.

    Every command runs offline on the small demo model in the package;
    [bold]--model[/bold] takes a checkpoint folder or a hub id instead.

    \b
    [bold]Examples[/bold]
      selfextend-viz show                 a first picture, in the browser
      selfextend-viz lab                  the live lab in JupyterLab
      selfextend-viz doctor               what is missing on this machine
      selfextend-viz suggest 4096 16384   which G and w_n reach that far
      selfextend-viz passkey              find a number in a long prompt
    """


app.command(rich_help_panel="Start")(show)
app.command(rich_help_panel="Start")(lab)
app.command(rich_help_panel="Start")(doctor)
app.command(rich_help_panel="Ask")(suggest)
app.command(rich_help_panel="Ask")(describe)
app.command(rich_help_panel="Ask")(plan)
app.command(rich_help_panel="Ask")(verify)
app.command(rich_help_panel="Ask")(recommend)
app.command(rich_help_panel="Measure")(choose)
app.command(rich_help_panel="Measure")(passkey)
app.command(rich_help_panel="Measure")(perplexity)
app.command(rich_help_panel="Measure")(divergence)
app.command("eval", rich_help_panel="Measure")(evaluate)
app.command(rich_help_panel="Measure")(sweep)
app.command(rich_help_panel="Measure")(compare)
app.command(rich_help_panel="Measure")(bench)
app.command("train-demo", rich_help_panel="Start")(train_demo)
