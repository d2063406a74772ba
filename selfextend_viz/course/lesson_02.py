"""The questions of lesson 02, why: rotary embeddings."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="02.1",
        text="Some pairs of numbers turn fast with distance, some slowly. Which of them meet angles past L that they "
        "never met in training?",
        choices={
            "a": "the fast ones: they have turned so often by then",
            "b": "the slow ones: they had not yet finished one turn",
            "c": "all of them alike",
        },
        tempting="a",
        misconception="The fast-rotating pairs are the ones that fail.",
        explanation=(
            "An angle comes back after a full turn. A pair that turned around many times within L has shown every "
            "angle there is, and no distance is new to it. A pair that was still on its first turn at L goes on to "
            "angles that nothing has ever been learned for."
        ),
    ),
    Question(
        id="02.2",
        text="One query and the key that it found, from this model's strongest retrieval head, stay as they are; only "
        "their distance grows, from 0 to L - 1. What becomes of their attention logit?",
        choices={
            "a": "it fades with every token: RoPE decays, so the far end of a text counts for little",
            "b": "it goes up and down a little, and is about as high at the far end as near by",
            "c": "nothing: turning a pair keeps its length",
        },
        tempting="a",
        misconception="RoPE decays, so far tokens cannot matter.",
        explanation=(
            "A logit is a sum of cosines, one for each pair, and cosines come back. The decay that is often drawn is "
            "an upper bound for a query and a key that are all alike. Training arranged these two so that they find "
            "each other anywhere within L. Past L nothing was ever arranged: there the sum goes where the cosines go."
        ),
    ),
)
