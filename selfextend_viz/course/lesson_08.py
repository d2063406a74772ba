"""The questions of lesson 08, pass keys and controls."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="08.1",
        text="A model's perplexity stays flat up to 4 L. Does it use the text beyond L?",
        choices={
            "a": "yes: if it were lost, perplexity would rise",
            "b": "that cannot be said: a model that sees only the last L tokens has a flat perplexity, too",
            "c": "no: only a falling perplexity is any use",
        },
        tempting="a",
        misconception="Flat perplexity means far text is used.",
        explanation=(
            "Most of what decides the next token stands near it. The blindfold hides everything at L and beyond, and "
            "its perplexity is as flat. Only a loss below the blindfold's, or a question that far text answers, "
            "shows "
            "that far text was used."
        ),
    ),
    Question(
        id="08.2",
        text="The blindfold hides all keys at distance L and more. Of 10 pass keys that stand beyond L, how many "
        "does "
        "it find?",
        misconception="A control only confirms what is known.",
        explanation=(
            "It cannot see them. Whoever finds more than the blindfold has read far text; whoever finds no more "
            "has not "
            "been shown to."
        ),
        unit="keys",
    ),
)
