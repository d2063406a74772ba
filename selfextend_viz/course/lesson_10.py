"""The questions of lesson 10, your own model."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="10.1",
        text="Far tokens share positions in groups of G = 8. What becomes of the key-value cache?",
        choices={
            "a": "it shrinks, to about an eighth",
            "b": "it stays as it is: one key and one value for each token",
        },
        tempting="a",
        misconception="It saves memory or time.",
        explanation=(
            "Only the number that says where a token stands is shared. Every token keeps its own key and value, "
            "and every "
            "query is multiplied with every key. Self-Extend buys length, and pays for it as any longer text does."
        ),
    ),
)
