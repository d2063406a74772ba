"""The questions of lesson 04, grouping by hand."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="04.1",
        text="With G = 4, four far tokens share one position. What does a query see of them?",
        choices={
            "a": "one token: their keys and values are pooled",
            "b": "four tokens in a muddle: their keys are swapped about within the group",
            "c": "four tokens, each with its own key and value, all said to be equally far away",
        },
        tempting="a",
        misconception="Grouped tokens are pooled, or scrambled.",
        explanation=(
            "Only the number that says where a token stands is shared. Every key and every value is its own, and each "
            "gets its own attention. What the query can no longer tell is which of the four came first."
        ),
    ),
    Question(
        id="04.2",
        text="With w_n = 4, what becomes of a token 7 places back?",
        choices={
            "a": "it is not seen: w_n is a sliding window",
            "b": "it is seen, at a coarser distance",
        },
        tempting="a",
        misconception="w_n is a sliding window.",
        explanation=(
            "w_n parts exact distances from grouped ones. Nothing is hidden on either side of it: every query sees "
            "every token before it, as in the stock model."
        ),
    ),
    Question(
        id="04.3",
        text="A text of L tokens or fewer is read under Self-Extend. When are its logits the stock model's?",
        choices={
            "a": "for every text within L: nothing there needs mending",
            "b": "only for texts of at most w_n + 1 tokens; from w_n + 2 on its logits change",
            "c": "never: grouping changes the first token already",
        },
        tempting="a",
        misconception="It is harmless below L.",
        explanation=(
            "Self-Extend does not know L. From distance w_n on pairs of tokens can be told another distance, "
            "whether the text needs it or not. In the first row that has it, w_n is still told as w_n; hence the + 1. "
            "Articles often say that texts within L are left alone, or those within w_n; both are off."
        ),
    ),
)
