"""Where an answer looks: one head's attention along the prompt, a track for each condition, with what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import AttentionRow, DigitRow
from selfextend_viz.plots.theme import NEVER_TRAINED, condition_styles, dress, faded, label

HEIGHT, HEAD = 150, 150
"""Pixels of a track, and of what is above and below the tracks."""
SMALLEST = 0.005
"""Attention below this has no bar."""


@dataclass(frozen=True)
class AnswerTrack:
    """One condition's attention along the prompt, and its answer.

    Attributes
    ----------
    condition
        Its label.
    starts, stops, masses
        Bins of tokens, and the attention mass on each.
    never
        First token and the one after the last of the stretch told to be L tokens away or more; None without any.
    on_needle
        Attention mass on the key.
    said, wanted
        What was answered and what was right; both empty where no answer was scored.
    """

    condition: str
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    masses: tuple[float, ...]
    never: tuple[int, int] | None
    on_needle: float
    said: str
    wanted: str

    @property
    def words(self) -> str:
        """What it looked at and said, in a sentence."""
        verdict = "right" if self.said == self.wanted else f"wrong, it is {self.wanted}"
        return (
            f"{self.condition}: {self.on_needle:.0%} of its attention on the key, says {self.said or '-'} ({verdict})"
        )


def answer_tracks(rows: Iterable[Any], *, needle: tuple[int, int], context_length: int) -> list[AnswerTrack]:
    """Arrange the rows of `answer_attention`, of one condition or several, into tracks.

    Raises
    ------
    ValueError
        If there is no attention to show.
    """
    found = list(rows)
    names = dict.fromkeys(row.condition for row in found if isinstance(row, AttentionRow))
    if not names:
        raise ValueError("there are 0 attention rows to draw; give what answer_attention yields")
    return [_track(name, [row for row in found if row.condition == name], needle, context_length) for name in names]


def _track(name: str, rows: list[Any], needle: tuple[int, int], context_length: int) -> AnswerTrack:
    bins = sorted((row for row in rows if isinstance(row, AttentionRow)), key=lambda row: row.start)
    digits = sorted((row for row in rows if isinstance(row, DigitRow)), key=lambda row: row.index)
    beyond = [row for row in bins if row.told >= context_length]
    return AnswerTrack(
        name,
        tuple(row.start for row in bins),
        tuple(row.stop for row in bins),
        tuple(row.mass for row in bins),
        (beyond[0].start, beyond[-1].stop) if beyond else None,
        sum(row.mass for row in bins if needle[0] <= row.start and row.stop <= needle[1]),
        "".join(row.said if row.said.strip() and row.said.isprintable() else "\N{MIDDLE DOT}" for row in digits),
        "".join(row.wanted for row in digits),
    )


def plot_answer(rows: Iterable[Any], *, needle: tuple[int, int], context_length: int) -> go.Figure:
    """Draw where one head looks while the model answers, one track a condition.

    Parameters
    ----------
    rows
        What :func:`~selfextend_viz.answer_attention` yields, of one condition or of several on one prompt.
    needle
        The key's first token and the one after its last (``Prompt.needle``).
    context_length
        L: tokens told to be so far away or farther are hatched, for training never showed such a distance.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If there is no attention to show.
    """
    tracks = answer_tracks(rows, needle=needle, context_length=context_length)
    styles = condition_styles([track.condition for track in tracks])
    figure = go.Figure()
    notes: list[Any] = []
    for number, track in enumerate(tracks):
        axis = "" if number == 0 else str(number + 1)
        figure.add_traces([_never(track, f"y{axis}"), _bars(track, styles[track.condition].color, f"y{axis}")])
        top = 1 - number / len(tracks)
        figure.update_layout({f"yaxis{axis}": _axis(number, len(tracks))})
        notes.append(label(track.words, x=0, y=top, xref="paper", yref="paper", xanchor="left", yanchor="top"))
    length = max(track.stops[-1] for track in tracks)
    figure.update_xaxes(title="token of the prompt", range=[0, length], anchor="free", position=0, showgrid=False)
    figure.update_layout(annotations=notes, showlegend=False, bargap=0, barmode="overlay")
    return dress(
        figure,
        title="Where the answer looks",
        subtitle=f"the key stands at tokens {needle[0]} to {needle[1] - 1}; hatched: distances training never showed",
        height=HEAD + HEIGHT * len(tracks),
    )


def _axis(number: int, tracks: int) -> dict[str, Any]:
    share = 1 / tracks
    return {
        "domain": [1 - (number + 1) * share + 0.1 * share, 1 - number * share - 0.28 * share],
        "range": [0, 1],
        "title": "attention",
        "tickformat": ".0%",
        "tickvals": [0, 0.5, 1],
    }


def _bars(track: AnswerTrack, color: str, axis: str) -> go.Bar:
    shown = [
        (start, stop, mass)
        for start, stop, mass in zip(track.starts, track.stops, track.masses, strict=True)
        if mass >= SMALLEST
    ]
    return go.Bar(
        x=[(start + stop) / 2 for start, stop, _ in shown],
        width=[stop - start for start, stop, _ in shown],
        y=[mass for *_, mass in shown],
        yaxis=axis,
        name=track.condition,
        marker={"color": color, "line": {"width": 1, "color": color}},
        customdata=[f"tokens {start} to {stop - 1}: {mass:.1%}" for start, stop, mass in shown],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _never(track: AnswerTrack, axis: str) -> go.Bar:
    start, stop = track.never or (0, 0)
    pattern = {"shape": "/", "fgcolor": faded(NEVER_TRAINED, 0.55), "bgcolor": faded(NEVER_TRAINED, 0.08), "size": 7}
    return go.Bar(
        x=[(start + stop) / 2] if track.never else [],
        width=[stop - start] if track.never else [],
        y=[1] if track.never else [],
        yaxis=axis,
        name="never trained",
        marker={"pattern": pattern, "line": {"width": 0}, "color": faded(NEVER_TRAINED, 0.08)},
        hoverinfo="skip",
    )
