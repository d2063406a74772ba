"""The questions of lesson 03, the failure dissected."""

from selfextend_viz.course.questions import Question

QUESTIONS = (
    Question(
        id="03.1",
        text="At 640 tokens, twice L, the key is put close to the question, well inside the distances that training "
        "showed. How often does the stock model find it?",
        choices={
            "a": "in most prompts: the key is near, and only far keys are lost",
            "b": "in few prompts: it loses a near key as well",
        },
        tempting="a",
        misconception="It fails because the needle is far.",
        explanation=(
            "In every layer one softmax is taken over all tokens. Tokens at distances that training never showed get "
            "logits that it never set, and with them attention that belongs elsewhere; later layers read what comes "
            "of it. So the far tokens poison the near ones; the key's own distance is not the point."
        ),
    ),
    Question(
        id="03.2",
        text="Now the blindfold: keys at distances of L and more are hidden, the text stays as long as it is. Each "
        "query then sees no longer the first tokens of the text, on which many models rest their attention. Is the "
        "near key found?",
        choices={
            "a": "no: without the first tokens attention has nowhere to rest",
            "b": "yes: what was hidden was the fault",
        },
        tempting="a",
        misconception="Long texts fail because the first tokens, the attention sinks, are lost.",
        explanation=(
            "Here it is not the loss of first tokens that breaks the model: with all of them gone the near key is "
            "found. Large models do need their first tokens (Xiao et al. 2023, StreamingLLM), at positions they were "
            "trained on; it is another failure, of another remedy, and it shows when old tokens are thrown away."
        ),
    ),
)
