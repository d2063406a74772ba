"""log-n scaling of queries: the factor by hand, in every implementation, in a model, with padding and a cache."""

import math

import pytest
import torch
from model_oracle import self_extend_by_hand
from tiny_models import CONTEXT_LENGTH, tiny_llama, tiny_mistral, token_ids
from torch.testing import assert_close

from selfextend_viz.attention import attend, attention_logits, query_factors
from selfextend_viz.patch import describe, extended, observe
from selfextend_viz.positions import PlainRoPE, SelfExtend
from selfextend_viz.rope import default_inv_freq

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

TRAINED = 13
PLAIN, SCALED = SelfExtend(3, 7), SelfExtend(3, 7, log_scale=TRAINED)


def factors_by_hand(length):
    return torch.tensor([max(1.0, math.log(i + 1) / math.log(TRAINED)) for i in range(length)], dtype=torch.float64)


def heads(length, *, dtype=torch.float64, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, 4, length, 16), (batch, 2, length, 16), (batch, 2, length, 16))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@torch.no_grad()
def logits_of(model, ids, method, implementation="auto", **inputs):
    with extended(model, method, implementation=implementation):
        return model(ids, **inputs).logits


class TestTheMethod:
    def test_it_is_off_unless_asked_for(self):
        assert SelfExtend(3, 7).log_scale is None
        assert (str(PLAIN), str(SCALED)) == ("SelfExtend(G=3, w_n=7)", "SelfExtend(G=3, w_n=7, log_scale=13)")

    def test_it_is_another_method_with_the_same_positions(self):
        assert PLAIN != SCALED and hash(PLAIN) != hash(SCALED) and SelfExtend(3, 7, log_scale=13) == SCALED
        assert PLAIN.capacity(32) == SCALED.capacity(32)

    @pytest.mark.parametrize(
        ("method", "first"),
        [(SCALED, 9), (SelfExtend(3, 20, log_scale=13), 14), (SelfExtend(1, 4, log_scale=13), 14), (PLAIN, 9)],
        ids=str,
    )
    def test_the_first_length_that_differs(self, method, first):
        query, key, value = heads(first)
        plain, scaled = (attend(query, key, value, other)[:, :, -1] for other in (PlainRoPE(), method))
        assert method.differs_from == first
        assert (plain - scaled).abs().max() > 1e-6
        shorter = [tensor[:, :, : first - 1] for tensor in (query, key, value)]
        assert_close(attend(*shorter, PlainRoPE()), attend(*shorter, method), atol=1e-12, rtol=0)

    @pytest.mark.parametrize("log_scale", [4096.0, True, "L"])
    def test_what_is_no_whole_number_is_refused(self, log_scale):
        with pytest.raises(TypeError, match="log_scale must be a whole number"):
            SelfExtend(3, 7, log_scale=log_scale)

    def test_a_length_whose_logarithm_is_zero_is_refused(self):
        with pytest.raises(ValueError, match="log_scale is 1, but must be at least 2"):
            SelfExtend(3, 7, log_scale=1)


class TestAttention:
    def test_the_factor_is_exactly_one_up_to_the_trained_length(self):
        factors = query_factors(torch.arange(40)[None], TRAINED)[0, 0, :, 0]
        assert (factors[:TRAINED] == 1).all() and factors[TRAINED] > 1
        assert_close(factors, factors_by_hand(40))

    def test_logits_are_those_of_the_formula(self):
        length, (query, key, _) = 41, heads(41)
        told = torch.as_tensor(self_extend_by_hand(3, 7, length))
        angle = told[..., None] * default_inv_freq(16)[0].double()
        turned = (
            torch.complex(*query.chunk(2, -1))[..., :, None, :]
            * torch.complex(*key.repeat_interleave(2, 1).chunk(2, -1))[..., None, :, :].conj()
        )
        expected = (turned * torch.polar(torch.ones_like(angle), angle)).real.sum(-1) / 4
        expected = expected * factors_by_hand(length)[:, None]
        expected = expected.masked_fill(told < 0, -torch.inf)
        assert_close(attention_logits(query, key, SCALED), expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    @pytest.mark.parametrize("queries", [61, 1, 5])
    def test_it_is_the_method_on_longer_queries(self, implementation, queries):
        query, key, value = heads(61)
        longer = query * factors_by_hand(61)[:, None]
        options = {"implementation": implementation}
        actual = attend(query[:, :, -queries:], key, value, SCALED, **options)
        assert_close(actual, attend(longer[:, :, -queries:], key, value, PLAIN, implementation="eager"))
        assert (actual - attend(query[:, :, -queries:], key, value, PLAIN, **options)).abs().max() > 1e-3

    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_padding_does_not_count(self, implementation):
        query, key, value = heads(40, batch=2)
        padding = torch.zeros(2, 40, dtype=torch.bool)
        padding[1, :9] = True
        options = {"implementation": implementation}
        both = attend(query, key, value, SCALED, key_padding=padding, **options)
        alone = attend(*(tensor[1:, :, 9:] for tensor in (query, key, value)), SCALED, **options)
        assert_close(both[1:, :, 9:], alone)

    def test_half_precision_errs_at_most_twice_what_queries_of_that_length_err(self):
        exact, low, factors = heads(200), heads(200, dtype=torch.bfloat16), factors_by_hand(200)[:, None]
        expected = attend(*exact, SCALED)
        longer = (exact[0] * factors).to(torch.bfloat16)
        floor = (attend(longer, *low[1:], PLAIN).double() - expected).norm()
        assert (attend(*low, SCALED).double() - expected).norm() <= 2 * floor

    def test_gradients_flow_through_the_factor(self):
        tensors = heads(40)
        grads = []
        for method, factor in ((SCALED, None), (PLAIN, factors_by_hand(40)[:, None])):
            query = tensors[0].clone().requires_grad_()
            attend(query if factor is None else query * factor, *tensors[1:], method).square().sum().backward()
            grads.append(query.grad)
        assert_close(*grads)


class TestModels:
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_it_is_a_model_whose_queries_are_longer(self, llama, implementation, monkeypatch):
        """Queries and keys go through one rotation, so the oracle lengthens what the query projections give."""
        ids = token_ids(50)
        actual = logits_of(llama, ids, SCALED, implementation)
        factors = factors_by_hand(50).float()[:, None]
        hooks = [
            layer.self_attn.q_proj.register_forward_hook(lambda module, args, output: output * factors)
            for layer in llama.model.layers
        ]
        expected = logits_of(llama, ids, PLAIN, "eager")
        for hook in hooks:
            hook.remove()
        assert_close(actual, expected, atol=5e-5, rtol=0)
        assert (actual - logits_of(llama, ids, PLAIN)).abs().max() > 1e-2

    def test_decoding_is_the_prefill(self, llama):
        ids = token_ids(40)
        whole = logits_of(llama, ids, SCALED)
        with torch.no_grad(), extended(llama, SCALED):
            state = llama(ids[:, :30], use_cache=True)
            steps = [state.logits]
            for index in range(30, 40):
                state = llama(ids[:, index : index + 1], past_key_values=state.past_key_values, use_cache=True)
                steps.append(state.logits)
        assert_close(torch.cat(steps, 1), whole, atol=5e-5, rtol=0)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_a_padded_row_is_the_row_alone(self, llama, side):
        ids, mask = token_ids(40, batch=2), torch.ones(2, 40, dtype=torch.long)
        tokens = slice(11, None) if side == "left" else slice(None, 29)
        mask[1] = 0
        mask[1, tokens] = 1
        both = logits_of(llama, ids, SCALED, attention_mask=mask)
        alone = logits_of(llama, ids[1:, tokens], SCALED)
        assert_close(both[1:, tokens], alone, atol=5e-5, rtol=0)

    @pytest.mark.parametrize("model", [tiny_llama, tiny_mistral])
    def test_groups_of_one_are_scaled_too(self, model):
        model, ids = model(), token_ids(40)
        scaled = logits_of(model, ids, SelfExtend(1, 4, log_scale=TRAINED))
        stock = logits_of(model, ids, PlainRoPE())
        assert_close(scaled[:, :TRAINED], stock[:, :TRAINED], atol=5e-5, rtol=0)
        assert (scaled - stock)[:, TRAINED:].abs().max() > 1e-2

    def test_observed_logits_are_scaled(self, llama):
        seen, rows = [], [5, 30, 39]

        def look(view):
            seen.append((view.logits(PLAIN), view.logits(SCALED)))

        with torch.no_grad(), observe(llama, rows, look):
            llama(token_ids(40))
        factors = factors_by_hand(40)[rows].float()[:, None]
        for plain, scaled in seen:
            assert_close(scaled, plain * factors, atol=1e-5, rtol=1e-5)

    def test_returned_weights_are_those_of_the_output(self, llama):
        with torch.no_grad(), extended(llama, SCALED, implementation="eager"):
            found = llama(token_ids(40), output_attentions=True).attentions[0]
        with torch.no_grad(), extended(llama, PLAIN, implementation="eager"):
            other = llama(token_ids(40), output_attentions=True).attentions[0]
        assert_close(found[:, :, :TRAINED], other[:, :, :TRAINED])
        assert (found - other).abs().max() > 1e-3

    def test_describe_says_it(self, llama):
        with extended(llama, SelfExtend(3, 7, log_scale=CONTEXT_LENGTH)):
            text = str(describe(llama))
        assert "queries: longer by log(i + 1) / log(32) from 33 tokens on" in text
