"""Solutions of lesson A1."""

import math


def ex_A1_1(logits):
    """The largest is taken out before exp, and put back behind the logarithm."""
    largest = max(logits)
    return largest + math.log(sum(math.exp(logit - largest) for logit in logits))


def ex_A1_2(near, near_lse, far, far_lse):
    """Weights that are a softmax over the two log-sum-exps."""
    whole = ex_A1_1([near_lse, far_lse])
    return near * math.exp(near_lse - whole) + far * math.exp(far_lse - whole)
