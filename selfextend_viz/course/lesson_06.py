"""The questions of lesson 06, what it costs is order."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="06.1",
        text="With G = 32 the five digits of a far key share one position, or two. What does the model answer?",
        choices={
            "a": "the right digits in the wrong order",
            "b": "the key, digit by digit",
            "c": "other digits: the five are blurred into one",
        },
        tempting="a",
        misconception="Grouped tokens are scrambled, so their order is lost.",
        explanation=(
            "Each digit was read, as the text went by, beside its exact neighbours: distances below w_n stay exact. "
            "So a digit's key and value already know what stands before it, and the model copies one after the other."
        ),
    ),
    Question(
        id="06.2",
        text="The far groups are told out of order, though never out of range. How many of the keys are still found?",
        choices={
            "a": "none: far text is in a muddle",
            "b": "about half",
            "c": "all, or nearly all",
        },
        tempting="a",
        misconception="A model that finds the key knows in which order the far text stands.",
        explanation=(
            "To fetch a key, a head compares contents, and any distance that it knows from training will do. So a "
            "pass "
            "key says nothing about far order: a test of that must ask for it."
        ),
    ),
    Question(
        id="06.3",
        text="Two keys that contradict each other, in a text shorter than L. Can Self-Extend change which one the "
        "model "
        "says?",
        choices={
            "a": "no: below L nothing needs mending, so nothing changes",
            "b": "yes: w_n decides how far apart they are told to stand",
        },
        tempting="a",
        misconception="A text that fits into L is answered as before.",
        explanation=(
            "Both keys are read and neither is out of range; the model weighs them by how far away it is told "
            "that they "
            "are. Self-Extend changes that as soon as a distance reaches w_n, below L as beyond it."
        ),
    ),
)
