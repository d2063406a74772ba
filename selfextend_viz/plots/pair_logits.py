"""One query and one key moved apart: their logit against distance, beside the distances that training showed."""

from __future__ import annotations

from collections.abc import Iterable

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PairLogitRow
from selfextend_viz.plots.theme import METHOD_COLOR, NEVER_TRAINED, dress, faded


def plot_pair_logits(rows: Iterable[PairLogitRow], *, context_length: int) -> go.Figure:
    """Draw what distance alone makes of one logit; the tinted part is what training never showed.

    Parameters
    ----------
    rows
        What `pair_logits` returns, of one head.
    context_length
        L.

    Returns
    -------
    plotly.graph_objects.Figure
        With one trace ``"logit"``.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    found = sorted(rows, key=lambda row: row.distance)
    if not found:
        raise ValueError("there are 0 logits to draw; give what pair_logits returns")
    figure = go.Figure()
    figure.add_scatter(
        x=[row.distance for row in found],
        y=[row.logit for row in found],
        mode="lines",
        name="logit",
        line={"color": METHOD_COLOR, "width": 2},
        hovertemplate="distance %{x}: %{y:.2f}<extra></extra>",
    )
    last = found[-1].distance
    if last >= context_length:
        figure.add_vrect(
            x0=context_length,
            x1=last,
            fillcolor=faded(NEVER_TRAINED, 0.12),
            line={"color": NEVER_TRAINED, "width": 1, "dash": "dash"},
            annotation={"text": "never trained", "font": {"size": 12}},
            annotation_position="top right",
        )
    figure.update_layout(xaxis_title="distance between query and key", yaxis_title="attention logit", showlegend=False)
    title = f"Layer {found[0].layer}, head {found[0].head}: one query, one key, moved apart"
    return dress(figure, title=title, subtitle="their contents stay the same; only the distance grows", height=380)
