"""The questions of lesson 07, reading divergence."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="07.1",
        text="On the same queries and keys, where do the logits of Self-Extend differ from the stock model's?",
        choices={
            "a": "only at distances of L and more, where the stock model breaks",
            "b": "from w_n on, also where the stock model is right",
        },
        tempting="a",
        misconception="A large logit difference is damage.",
        explanation=(
            "The difference says what was moved, not what broke. It begins at w_n, long before L, where both models "
            "answer rightly. What tells damage is whether a logit leaves the range that the head had in training."
        ),
    ),
    Question(
        id="07.2",
        text="Self-Extend is lent to one layer of the six, the others stay stock. At 2 L, is there a layer for "
        "which the "
        "keys come back?",
        choices={
            "a": "yes, the layer of the retrieval head",
            "b": "no single layer is enough",
            "c": "yes, whichever it is",
        },
        tempting="a",
        misconception="The head that fetches the key is the one that is broken.",
        explanation=(
            "The head that fetches needs what earlier layers wrote, and later ones must pass its answer on. "
            "Leaving one "
            "layer out shows which of them matter."
        ),
    ),
)
