"""The question of lesson 01, it breaks, it mends."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="01.1",
        text="Training showed this model texts of 320 tokens and no longer ones. At which length does it lose the key?",
        choices={
            "a": "at 321 tokens: the first distance that training never showed breaks it",
            "b": "somewhat later: it still answers a little past 320, and has lost the key before 640",
            "c": "later than 640 tokens, if at all",
        },
        tempting="a",
        misconception="The cliff is exactly at L.",
        explanation=(
            "No line was drawn at L. A distance of 321 turns each pair of numbers hardly further than 320 does, so the "
            "first untrained distances look almost like trained ones. L says where training ended, not where the model "
            "does; how far it holds beyond is a property of the model, and has to be measured."
        ),
    ),
)
