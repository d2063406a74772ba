"""The questions of lesson 09, choosing G and w_n."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="09.1",
        text="You are not sure how long the text will be. Is a G of 512, which reaches very far, the safe choice?",
        choices={
            "a": "yes: a larger G only reaches farther",
            "b": "no: with it more tokens share a position, and with a small w_n answers get lost",
            "c": "no: it takes more memory",
        },
        tempting="a",
        misconception="A bigger G is always safer.",
        explanation=(
            "A larger G leaves fewer different positions for far text, and what is coarser costs order. Take the "
            "smallest G that the authors' rule allows, and a w_n that keeps the near text exact."
        ),
    ),
    Question(
        id="09.2",
        text="The demo model has L = 320. With w_n = 80, which G does it take, at least, for N = 1,280 tokens?",
        misconception="G is N / L.",
        explanation=(
            "N / L forgets that the first w_n positions are not grouped: only L - w_n are left for the rest, plus "
            "the "
            "w_n // G that grouping the window gives back."
        ),
    ),
)
