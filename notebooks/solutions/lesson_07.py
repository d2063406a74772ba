"""Solutions of lesson 07."""

import math


def softmax(logits):
    """Shares of attention; the largest logit is taken out first."""
    weights = [math.exp(logit - max(logits)) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def ex_07_1(first, second):
    """What one key lost another one won: hence the half."""
    return sum(abs(p - q) for p, q in zip(softmax(first), softmax(second), strict=True)) / 2


def ex_07_2(p, q):
    """A share of 0 in p adds nothing, and its logarithm must not be taken."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
