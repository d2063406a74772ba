"""The question of lesson 05, the reach, exactly."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="05.1",
        text="With G = 4 and w_n = 80 this model is told no distance past L up to a certain length: the reach. One "
        "tenth beyond it, how many of ten keys are found?",
        choices={
            "a": "few or none: past the reach it is as broken as the stock model past L",
            "b": "at least half of them: the cliff comes later than the reach",
        },
        tempting="a",
        misconception="The cliff is exactly at the reach.",
        explanation=(
            "The reach is L seen through the formula: the length at which the first distance is told that training "
            "never showed. The model did not fail at L, so it does not fail at the reach either: the same slack, now "
            "times G. Plan with the reach, and know that it is the end of what was trained, not a wall."
        ),
    ),
)
