"""Every method once, with easy and awkward numbers: tests that hold for all methods run over this list."""

from selfextend_viz.methods import ShuffledSelfExtend, SinksAtTrueDistance, SlidingWindow
from selfextend_viz.positions import Method, PlainRoPE, SelfExtend

METHODS: list[Method] = [
    PlainRoPE(),
    SelfExtend(group_size=1, neighbor_window=4),
    SelfExtend(group_size=2, neighbor_window=4),
    SelfExtend(group_size=3, neighbor_window=4),
    SelfExtend(group_size=5, neighbor_window=17),
    SelfExtend(group_size=4, neighbor_window=0),
    SelfExtend(group_size=4, neighbor_window=1),
    SelfExtend(group_size=64, neighbor_window=8),
    SelfExtend(group_size=2, neighbor_window=100_000),
    SlidingWindow(1),
    SlidingWindow(7),
    SinksAtTrueDistance(7),
    SinksAtTrueDistance(3, sinks=1),
    ShuffledSelfExtend(group_size=2, neighbor_window=6),
    ShuffledSelfExtend(group_size=3, neighbor_window=8, seed=1),
]
METHOD_CASES: list[tuple[str, Method]] = [(str(method), method) for method in METHODS]
