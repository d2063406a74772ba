"""Laws of the rotation: only differences matter, norms are kept, precision is float32 at least."""

import math

import pytest
import torch

from selfextend_viz.rope import cos_sin, default_inv_freq, rotate, turn


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def turned_by_hand(vector, position, inv_freq):
    """One head vector, pair by pair, in Python floats."""
    pairs = len(inv_freq)
    result = list(vector)
    for d, frequency in enumerate(inv_freq):
        angle = position * frequency
        result[d] = vector[d] * math.cos(angle) - vector[d + pairs] * math.sin(angle)
        result[d + pairs] = vector[d + pairs] * math.cos(angle) + vector[d] * math.sin(angle)
    return result


def test_default_frequencies_are_the_paper_s():
    inv_freq, factor = default_inv_freq(8, theta=100.0)
    assert factor == 1.0
    assert inv_freq.dtype == torch.float32
    torch.testing.assert_close(inv_freq, torch.tensor([1.0, 100**-0.25, 0.1, 100**-0.75]))


@pytest.mark.parametrize("partial", [False, True])
def test_rotate_equals_the_formula_by_hand(partial):
    tensor, positions = random(2, 3, 5, 10), torch.tensor([0, 1, 7, 300, 4095])
    inv_freq = torch.tensor([1.0, 0.3, 0.01] if partial else [1.0, 0.3, 0.1, 0.03, 0.01], dtype=torch.float64)
    result = rotate(tensor, positions, inv_freq)
    for b in range(2):
        for h in range(3):
            for i, position in enumerate(positions.tolist()):
                expected = turned_by_hand(tensor[b, h, i].tolist(), position, inv_freq.tolist())
                assert result[b, h, i].tolist() == pytest.approx(expected, abs=1e-12)


def test_dimensions_past_the_frequencies_pass_through():
    tensor = random(1, 2, 6, 9)
    result = rotate(tensor, torch.arange(6), default_inv_freq(4)[0])
    assert torch.equal(result[..., 4:], tensor[..., 4:])
    assert not torch.equal(result[..., :4], tensor[..., :4])


def test_only_differences_matter():
    query, key = random(1, 1, 1, 16), random(1, 1, 2, 16)[:, :, 1:]
    inv_freq = default_inv_freq(16)[0].double()
    products = {
        shift: (
            rotate(query, torch.tensor([40 + shift]), inv_freq) * rotate(key, torch.tensor([11 + shift]), inv_freq)
        ).sum()
        for shift in (0, 1, 999)
    }
    assert products[1].item() == pytest.approx(products[0].item(), abs=1e-12)
    assert products[999].item() == pytest.approx(products[0].item(), abs=1e-10)


def test_norms_are_kept_and_rotations_compose():
    tensor, inv_freq = random(2, 2, 7, 8), default_inv_freq(8)[0].double()
    once = rotate(tensor, torch.arange(7) + 5, inv_freq)
    torch.testing.assert_close(once.norm(dim=-1), tensor.norm(dim=-1))
    twice = rotate(rotate(tensor, torch.arange(7), inv_freq), torch.full((7,), 5), inv_freq)
    torch.testing.assert_close(twice, once)
    torch.testing.assert_close(rotate(once, -(torch.arange(7) + 5), inv_freq), tensor)


def test_position_zero_is_the_identity():
    tensor = random(1, 2, 3, 8, dtype=torch.bfloat16)
    assert torch.equal(rotate(tensor, torch.zeros(3, dtype=torch.int64), default_inv_freq(8)[0]), tensor)


def test_each_batch_row_may_have_its_own_positions():
    tensor, inv_freq = random(2, 2, 4, 8), default_inv_freq(8)[0]
    positions = torch.tensor([[0, 1, 2, 3], [9, 10, 11, 12]])
    result = rotate(tensor, positions, inv_freq)
    for row in range(2):
        torch.testing.assert_close(result[row : row + 1], rotate(tensor[row : row + 1], positions[row], inv_freq))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_once_at_the_end(dtype):
    """Positions past 256 are not even numbers in bfloat16, so angles must never be."""
    tensor, positions = random(1, 2, 4, 16, dtype=dtype), torch.tensor([257, 1023, 4097, 16385])
    inv_freq = default_inv_freq(16)[0]
    result = rotate(tensor, positions, inv_freq)
    assert result.dtype == dtype
    assert torch.equal(result, rotate(tensor.float(), positions, inv_freq).to(dtype))


def test_angles_of_double_tensors_are_double():
    cos, sin = cos_sin(torch.tensor([1_000_003]), torch.tensor([0.7], dtype=torch.float64), dtype=torch.float64)
    assert cos.item() == pytest.approx(math.cos(1_000_003 * 0.7), abs=1e-9)
    assert sin.item() == pytest.approx(math.sin(1_000_003 * 0.7), abs=1e-9)


@pytest.mark.parametrize("shape", [(1200,), (3, 400)])
def test_positions_that_tokens_share_turn_the_same(shape):
    """Their angles are computed once and handed out; to the bit what each alone would get."""
    positions, inv_freq = torch.arange(1200).reshape(shape) // 8 - 5, default_inv_freq(16)[0]
    angles = positions[..., None] * inv_freq
    angles = angles[:, None] if positions.ndim == 2 else angles
    cos, sin = cos_sin(positions, inv_freq, attention_factor=1.5)
    assert torch.equal(cos, angles.cos() * 1.5)
    assert torch.equal(sin, angles.sin() * 1.5)


def test_attention_factor_scales_rotated_dimensions_only():
    tensor, inv_freq = random(1, 1, 3, 10), default_inv_freq(8)[0]
    plain, scaled = (rotate(tensor, torch.arange(3), inv_freq, attention_factor=f) for f in (1.0, 1.25))
    torch.testing.assert_close(scaled[..., :8], 1.25 * plain[..., :8])
    assert torch.equal(scaled[..., 8:], plain[..., 8:])


@pytest.mark.parametrize(
    ("head_dim", "theta", "error", "words"),
    [
        (7, 1e4, ValueError, "got 7"),
        (0, 1e4, ValueError, "got 0"),
        (8.0, 1e4, TypeError, "8.0"),
        (True, 1e4, TypeError, "True"),
        (8, 0.0, ValueError, "got 0.0"),
        (8, math.inf, ValueError, "inf"),
    ],
)
def test_bad_frequencies_are_refused(head_dim, theta, error, words):
    with pytest.raises(error, match=words):
        default_inv_freq(head_dim, theta=theta)


@pytest.mark.parametrize(
    ("shape", "positions", "pairs", "words"),
    [
        ((2, 5, 8), 5, 4, "batch, heads, length, head_dim"),
        ((1, 2, 5, 8), 4, 4, r"positions must be \[5\]"),
        ((1, 2, 5, 8), 5, 5, r"head_dim // 2 = 4"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, positions, pairs, words):
    with pytest.raises(ValueError, match=words):
        rotate(torch.zeros(shape), torch.arange(positions), torch.ones(pairs))


def test_gradients_flow_through_the_rotation():
    tensor = random(1, 2, 3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: rotate(t, torch.arange(3), default_inv_freq(4)[0]), (tensor,))


@pytest.mark.parametrize("asked", [True, False], ids=["with gradients", "without"])
def test_interleaved_pairs_are_neighbours(asked):
    tensor, angles = random(2, 3, 5, 10).requires_grad_(asked), torch.linspace(-3, 3, 20).view(5, 4).double()
    turned = turn(tensor, angles.cos(), angles.sin(), interleaved=True)
    pairs = torch.view_as_complex(tensor.detach()[..., :8].reshape(2, 3, 5, 4, 2))
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    torch.testing.assert_close(turned[..., :8], expected, atol=1e-12, rtol=0)
    assert torch.equal(turned[..., 8:], tensor[..., 8:]) and turned.requires_grad == asked


def test_gradients_flow_through_interleaved_pairs():
    tensor, angles = random(1, 2, 3, 6).requires_grad_(), torch.linspace(-3, 3, 6).view(3, 2).double()
    turned = lambda t: turn(t, angles.cos(), angles.sin(), interleaved=True)  # noqa: E731
    assert torch.autograd.gradcheck(turned, (tensor,))
