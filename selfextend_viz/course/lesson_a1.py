"""The question of lesson A1, flash attention and the merge."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="A1.1",
        text="Near and far keys are attended to separately, each with a softmax of its own. How do the two "
        "outputs become "
        "the one that was wanted?",
        choices={
            "a": "they are added",
            "b": "they are averaged",
            "c": "they are weighted, by how much of the whole softmax each band would have had",
        },
        tempting="a",
        misconception="The two bands are two softmaxes added.",
        explanation=(
            "There is one softmax over all keys. Each band's log-sum-exp says how large its part of the "
            "denominator is, "
            "and with those as weights the two outputs make exactly the one. Added, every row would weigh 2."
        ),
    ),
)
