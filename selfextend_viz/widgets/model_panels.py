"""The panels that show a model's answers: attention-logit divergence and the live pass key."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.experiments.rows import BLINDFOLD, STOCK, HeadRow, LogitRow, OutputRow, PasskeyRow
from selfextend_viz.plots import plot_divergence, plot_outlier_grid, plot_passkey
from selfextend_viz.plots.curve_names import part_names
from selfextend_viz.plots.far_levels import far_levels, head_to_open
from selfextend_viz.plots.logit_curves import REFERENCE
from selfextend_viz.widgets.card import Table
from selfextend_viz.widgets.panel import LiveFigure, Panel, for_card, row_of
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import DEPTHS, grid_lengths

DivergenceRow = LogitRow | HeadRow | OutputRow
GRID_WIDTH = 150
NAMES_WIDTH = 92
BOTH = 2
ON_THEIR_WAY = "The first results are on their way …"


class DivergencePanel(Panel):
    """One head's logits against distance, and the grid of heads that picks it; opens on the worst head."""

    def __init__(self, setting: Setting, *, height: int = 240) -> None:
        self.rows: tuple[DivergenceRow, ...] = waiting_rows(setting)
        self.setting = setting
        self.head = (0, 0)
        self.chosen = False
        self.grid = LiveFigure(self._draw_grid(), fit=partial(stacked, height=height), listen=self._listen)
        super().__init__("Attention logits", self._draw_head(), height=height)
        self.say(ON_THEIR_WAY)

    def body(self) -> ipywidgets.Widget:
        """The grid of heads beside the curve."""
        self.grid.widget.layout.width = GRID_WIDTH
        return row_of(self.grid.widget, self.figure.widget)

    def show_rows(self, rows: Iterable[DivergenceRow], setting: Setting) -> None:
        """Show what `divergence` yielded at a setting."""
        self.rows, self.setting = tuple(rows), setting
        heads = self.heads()
        if not self.chosen or self.head not in heads:
            self.head = head_to_open(self.rows, setting.context_length)
        self._draw()

    def heads(self) -> dict[tuple[int, int], HeadRow]:
        """The rows of `HeadRow`, by layer and head."""
        return {(row.layer, row.head): row for row in self.rows if isinstance(row, HeadRow)}

    def choose(self, layer: int, head: int) -> None:
        """Show another head, as a click on the grid does; heads that are not there are passed over."""
        if (layer, head) in self.heads():
            self.head, self.chosen = (layer, head), True
            self._draw()

    def table(self) -> Table:
        """The shown head's mean logits by distance, under each condition; empty until there are results."""
        conditions = (REFERENCE, STOCK, str(self.setting.method))
        means: dict[tuple[int, int], dict[str, float]] = {}
        for row in self._shown():
            if row.pairs:
                means.setdefault((row.distance_low, row.distance_high), {})[row.condition] = row.mean
        header = ("distance from", "up to", "logit in training", "logit under stock", "logit under Self-Extend")
        lines: list[tuple[Any, ...]] = [
            (low, high - 1, *(found.get(condition) for condition in conditions))
            for (low, high), found in sorted(means.items())
        ]
        return header, lines

    def _shown(self) -> list[LogitRow]:
        """The rows of the head on screen."""
        return [row for row in self.rows if isinstance(row, LogitRow) and (row.layer, row.head) == self.head]

    def words(self) -> str:
        """What happened to the head shown, in a sentence."""
        layer, head = self.head
        if not any(row.pairs for row in self._shown()):
            return ON_THEIR_WAY
        row, level = self.heads()[self.head], far_levels(self.rows, layer, head, self.setting.context_length)
        name = f"Layer {layer}, head {head}"
        if level is None:
            return f"{name}: N = {self.setting.length:,} lies within L, so every logit is in the range training taught."
        return (
            f"{name} gave the farthest tokens of training <b>{level.reference:.1f}</b>; past L stock gives "
            f"<b>{level.stock:.1f}</b>, Self-Extend <b>{level.method:.1f}</b>. Outliers: "
            f"{row.outlier_share_stock:.1%} under stock, {row.outlier_share_method:.1%} extended."
        )

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout with room for the curves' names at their right ends."""
        kept = super().fit(layout)
        kept["margin"]["r"] = NAMES_WIDTH
        for axis, title in (("yaxis", "logit"), ("yaxis2", "told")):
            kept[axis]["title"]["text"] = title
        curves = [note for note in kept["annotations"] if note["text"].startswith("<b>")]
        if len(curves) == BOTH:
            part_names(curves, 1.0, close=math.inf)  # two lines of small type are a third of the axis
        return kept

    def _draw(self) -> None:
        self.grid.show(self._draw_grid())
        self.show(self._draw_head(), text=self.words())

    def _draw_grid(self) -> go.Figure:
        layer, head = self.head
        return plot_outlier_grid(self.rows, layer=layer, head=head)

    def _draw_head(self) -> go.Figure:
        layer, head = self.head
        setting = self.setting
        return plot_divergence(
            self.rows, layer=layer, head=head, context_length=setting.context_length, method=setting.method
        )

    def _listen(self, widget: go.FigureWidget) -> None:
        for trace in widget.data:
            trace.on_click(self._click)

    def _click(self, trace: Any, points: Any, selector: Any) -> None:
        if points.xs and points.ys:
            self.choose(int(points.ys[0]), int(points.xs[0]))


def waiting_rows(setting: Setting) -> tuple[DivergenceRow, ...]:
    """Rows without a number, that draw an empty panel of the right extent until the first results come."""
    nothing = math.nan
    curves = [
        LogitRow(0, 0, condition, 0, setting.length, nothing, nothing, nothing, 0)
        for condition in (REFERENCE, STOCK, str(setting.method))
    ]
    return (*curves, HeadRow(0, 0, setting.length, *[nothing] * 9))


def stacked(layout: dict[str, Any], height: int) -> dict[str, Any]:
    """The grid of heads, stock above the method, as narrow as a card has room for."""
    kept = for_card(layout, height)
    kept.update(margin={"t": 18, "b": 4, "l": 22, "r": 4}, width=GRID_WIDTH)
    kept.setdefault("coloraxis", {})["showscale"] = False
    for suffix, low, high in (("", 0.54, 1.0), ("2", 0.0, 0.46)):
        kept.setdefault(f"xaxis{suffix}", {}).update(domain=[0, 1], title=None, ticks="", showticklabels=False)
        kept.setdefault(f"yaxis{suffix}", {}).update(domain=[low, high], title=None, ticks="", showticklabels=True)
    for note, axis, text in zip(
        kept.get("annotations", ()), ("y", "y2"), ("<b>stock</b>", "<b>extended</b>"), strict=False
    ):
        note.update(yref=f"{axis} domain", text=text)
    return kept


class PasskeyPanel(Panel):
    """Length x depth maps of the pass key, one a condition, filled cell by cell.

    Parameters
    ----------
    setting
        The numbers it opens with.
    height
        Of the figure, in pixels.
    beside
        Label of the condition that stands beside stock and Self-Extend.
    """

    def __init__(self, setting: Setting, *, height: int = 240, beside: str = BLINDFOLD) -> None:
        self.beside = beside
        self.rows: dict[tuple[str, int, float], PasskeyRow] = {}
        self.setting = setting
        super().__init__("Live pass key", self._draw(), height=height)
        self.say(ON_THEIR_WAY)

    def begin(self, setting: Setting, cells: Iterable[PasskeyRow] = ()) -> None:
        """Start the grid of a setting with the cells known already; the others wait."""
        self.rows, self.setting = {}, setting
        self.show_cells(cells)

    def show_cells(self, cells: Iterable[PasskeyRow]) -> None:
        """Add cells to the grid."""
        for row in cells:
            self.rows[row.condition, row.length, row.depth] = row
        self.show(self._draw(), text=self.words())

    def _draw(self) -> go.Figure:
        setting = self.setting
        return plot_passkey(
            tuple(self.rows.values()),
            context_length=setting.context_length,
            reach={str(setting.method): setting.method.capacity(setting.context_length)},
            lengths=grid_lengths(setting.length, setting.context_length),
            depths=DEPTHS,
            conditions=(STOCK, self.beside, str(setting.method)),
        )

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout whose lengths stand level under narrow columns; the counts in the cells stand for a colour bar."""
        kept = super().fit(layout)
        kept["coloraxis"]["showscale"] = False
        for key, axis in kept.items():
            if key.startswith("xaxis"):
                plain = [text.replace(",", "") for text in axis["ticktext"]]
                axis.update(tickangle=0, tickfont={"size": 9}, ticktext=plain)
        for note in kept["annotations"]:
            if note["text"] == f"<b>{self.setting.method}</b>":
                note["text"] = "<b>Self-Extend</b>"
            elif note["text"] == f"<b>{self.beside}</b>":
                note["text"] = f"<b>{name_of(self.beside)}</b>"
        return kept

    def table(self) -> Table:
        """A line for each cell that is known."""
        header = ("model", "tokens N", "depth of the key", "exact answers", "of", "mean log-probability a digit")
        known = sorted(self.rows.values(), key=lambda row: (row.condition, row.length, row.depth))
        lines: list[tuple[Any, ...]] = [
            (row.condition, row.length, f"{row.depth:.0%}", row.exact, row.trials, row.log_probability) for row in known
        ]
        return header, lines

    def words(self) -> str:
        """How often each condition finds the key past L, in a sentence."""
        if not self.rows:
            return ON_THEIR_WAY
        past = [row for row in self.rows.values() if row.length > self.setting.context_length]
        where = "Past L" if past else "Within L"
        shares = [
            f"{name} finds <b>{share_of(past or self.rows.values(), label)}</b>"
            for name, label in (
                ("stock", STOCK),
                (name_of(self.beside), self.beside),
                ("Self-Extend", str(self.setting.method)),
            )
        ]
        return f"{where}, {', '.join(shares)} of the keys in the same prompts."


def name_of(label: str) -> str:
    """A condition's name without its parameters, for which there is no room."""
    return label.partition("(")[0]


def share_of(rows: Iterable[PasskeyRow], label: str) -> str:
    """Exact answers of one condition over all `rows`, as "k/n"."""
    mine = [row for row in rows if row.condition == label]
    return f"{sum(row.exact for row in mine)}/{sum(row.trials for row in mine)}" if mine else "…"
