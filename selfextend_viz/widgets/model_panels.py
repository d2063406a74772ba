"""The panels that show a model's answers: attention-logit divergence and the live pass key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.experiments.rows import BLINDFOLD, STOCK, HeadRow, LogitRow, OutputRow, PasskeyRow
from selfextend_viz.plots import plot_divergence, plot_outlier_grid, plot_passkey, worst_head
from selfextend_viz.widgets.panel import LiveFigure, Panel, for_card, row_of
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import DEPTHS, grid_lengths

DivergenceRow = LogitRow | HeadRow | OutputRow
REFERENCE = "reference"
NOTICEABLE = 0.01
"""Outlier shares below this do not show in a curve."""
FAR_END = 0.75
"""The farthest tokens of training are those beyond this share of L."""
GRID_WIDTH = 150
NAMES_WIDTH = 92
LABEL_COLUMNS = 3
"""Two labels over a map need this many columns between them."""
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

    def words(self) -> str:
        """What happened to the head shown, in a sentence."""
        layer, head = self.head
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
        part_names([note for note in kept.get("annotations", ()) if note["text"].startswith("<b>")])
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


def part_names(names: list[dict[str, Any]]) -> None:
    """Let two curves' names, which stand at the curves' ends, grow apart instead of over one another."""
    for place, note in enumerate(sorted(names, key=lambda note: note["y"])):
        note["yanchor"] = "bottom" if place else "top"


@dataclass(frozen=True)
class FarLevels:
    """One head's mean logits: of the farthest tokens within L in training's range, and of all tokens past L."""

    reference: float
    stock: float
    method: float


def far_levels(rows: Iterable[DivergenceRow], layer: int, head: int, context_length: int) -> FarLevels | None:
    """The mean logits that tell a head's story, or None where no token is past L."""
    mine = [row for row in rows if isinstance(row, LogitRow) and (row.layer, row.head) == (layer, head)]

    def mean(keep: Callable[[LogitRow], bool]) -> float | None:
        kept = [row for row in mine if keep(row) and row.pairs and math.isfinite(row.mean)]
        pairs = sum(row.pairs for row in kept)
        return sum(row.mean * row.pairs for row in kept) / pairs if pairs else None

    reference = mean(lambda row: row.condition == REFERENCE and row.distance_high > FAR_END * context_length)
    stock = mean(lambda row: row.condition == STOCK and row.distance_low >= context_length)
    method = mean(lambda row: row.condition not in (STOCK, REFERENCE) and row.distance_low >= context_length)
    if reference is None or stock is None or method is None:
        return None
    return FarLevels(reference, stock, method)


def head_to_open(rows: Sequence[DivergenceRow], context_length: int) -> tuple[int, int]:
    """The head with the largest outlier share; where no head has a noticeable one, the head whose far logits rose most.

    A head that gives some near tokens large logits can lose its far range altogether without one outlier.
    """
    heads = [row for row in rows if isinstance(row, HeadRow)]
    if max(row.outlier_share_stock for row in heads) >= NOTICEABLE:
        return worst_head(rows)

    def rise(head: HeadRow) -> float:
        level = far_levels(rows, head.layer, head.head, context_length)
        return level.stock - level.reference if level is not None else 0.0

    worst = max(heads, key=rise)
    return worst.layer, worst.head


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
    """Length x depth maps of the pass key, one a condition, filled cell by cell."""

    def __init__(self, setting: Setting, *, height: int = 240) -> None:
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
            conditions=(STOCK, BLINDFOLD, str(setting.method)),
        )

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout whose lengths stand level under their narrow columns."""
        kept = super().fit(layout)
        for key, axis in kept.items():
            if key.startswith("xaxis"):
                axis.update(tickangle=0, tickfont={"size": 9})
        *_, limit, reach = kept["annotations"]
        if abs(limit["x"] - reach["x"]) < LABEL_COLUMNS:
            limit["visible"] = False  # the other two maps show L too
        return kept

    def words(self) -> str:
        """How often each condition finds the key past L, in a sentence."""
        if not self.rows:
            return ON_THEIR_WAY
        past = [row for row in self.rows.values() if row.length > self.setting.context_length]
        where = "Past L" if past else "Within L"
        shares = [
            f"{name} finds <b>{share_of(past or self.rows.values(), label)}</b>"
            for name, label in (("stock", STOCK), ("blindfold", BLINDFOLD), ("Self-Extend", str(self.setting.method)))
        ]
        return f"{where}, {', '.join(shares)} of the keys in the same prompts."


def share_of(rows: Iterable[PasskeyRow], label: str) -> str:
    """Exact answers of one condition over all `rows`, as "k/n"."""
    mine = [row for row in rows if row.condition == label]
    return f"{sum(row.exact for row in mine)}/{sum(row.trials for row in mine)}" if mine else "…"
