"""The positions that take the place of a mask: one number per key, never one per pair."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import tiny_llama, token_ids
from transformers import StaticCache
from transformers.masking_utils import create_causal_mask

from selfextend_viz.patch import extended
from selfextend_viz.patch.slots import PADDING, UNWRITTEN, key_positions, read_slots
from selfextend_viz.positions import SelfExtend


def test_left_and_right_padding_and_slots_not_yet_written():
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    table = key_positions(2, 5, 7, attention_mask=mask)
    assert table.shape == (2, 1, 1, 7) and table.dtype == torch.int64
    pad, rest = PADDING, [UNWRITTEN] * 2
    assert table[:, 0, 0].tolist() == [[pad, pad, 0, 1, 2, *rest], [0, 1, 2, pad, pad, *rest]]


def test_a_static_cache_counts_from_a_tensor():
    table = key_positions(1, 2, 6, q_offset=torch.tensor(3))
    assert table.flatten().tolist() == [0, 1, 2, 3, 4, UNWRITTEN]


def test_a_cache_that_dropped_tokens_keeps_their_count():
    table = key_positions(1, 1, 4, q_offset=9, kv_offset=6, attention_mask=torch.ones(1, 10))
    assert table.flatten().tolist() == [6, 7, 8, 9]
    reading = read_slots(table, torch.tensor([[9]]), 1)
    assert (reading.dropped, reading.longest, reading.slots.keys) == (6, 10, 4)


def test_reading_cuts_off_what_is_not_written():
    table = key_positions(2, 4, 9, q_offset=1, attention_mask=torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]]))
    reading = read_slots(table, None, 4)
    assert (reading.slots.keys, reading.slots.queries, reading.longest, reading.padded) == (5, 4, 4, True)
    assert reading.slots.query_positions.tolist() == [[0, 1, 2, 3], [1, 2, 3, PADDING]]
    assert not read_slots(key_positions(2, 4, 4), None, 4).padded


def causal_but(*, hidden=(), shown=()):
    """A causal pattern without some pairs (query, key) and with some others."""

    def sees(batch, head, query, key):
        seen = key <= query
        for pairs, value in ((hidden, False), (shown, True)):
            for q, k in pairs:
                seen = torch.where((query == q) & (key == k), value, seen)
        return seen

    return sees


@pytest.mark.parametrize(
    ("wrong", "window"),
    [
        ({"hidden": [(5, 4)]}, None),
        ({"hidden": [(9, 0)]}, None),
        ({"hidden": [(9, 6)]}, 5),
        ({"hidden": [(9, 0), (9, 1), (9, 3)]}, 5),
        ({"shown": [(3, 4)]}, None),
        ({"shown": [(8, 9)]}, 5),
    ],
    ids=str,
)
def test_a_pattern_that_hides_or_shows_what_causal_attention_does_not_is_refused(wrong, window):
    with pytest.raises(ValueError, match="plain causal attention"):
        key_positions(1, 10, 10, mask_function=causal_but(**wrong), local_size=window)


@pytest.mark.parametrize("window", [None, 1, 5, 20])
@pytest.mark.parametrize(("offset", "queries"), [(0, 10), (4, 6), (9, 1), (torch.tensor(4), 6)], ids=str)
def test_causal_attention_in_other_words_and_a_window_are_accepted(window, offset, queries):
    def sees(batch, head, query, key):
        return (key <= query) & (key > query - (window or 100))

    for asked in ({"local_size": window}, {"config": SimpleNamespace(sliding_window=window)}):
        table = key_positions(2, queries, 12, q_offset=offset, mask_function=sees, **asked)
        assert table[1].flatten().tolist() == [*range(10), UNWRITTEN, UNWRITTEN]


def test_the_device_is_read_as_often_for_many_layers_as_for_few(monkeypatch):
    reads = []

    def counting(original):
        def counted(tensor, *args, **options):
            reads.append(1)
            return original(tensor, *args, **options)

        return counted

    for name in ("tolist", "item", "__bool__", "__int__", "__index__", "__float__", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, counting(getattr(torch.Tensor, name)))
    mask = torch.ones(2, 60, dtype=torch.long)
    mask[0, :5] = 0
    counts = []
    for layers in (1, 4):
        with torch.no_grad(), extended(tiny_llama(num_hidden_layers=layers), SelfExtend(3, 7)) as model:
            reads.clear()
            model(token_ids(60, batch=2), attention_mask=mask)
            counts.append(len(reads))
    assert 0 < counts[0] == counts[1]


def test_nothing_of_the_size_of_all_pairs_is_made():
    model, ids = tiny_llama(), token_ids(300, batch=2)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    with extended(model, SelfExtend(64, 8)):
        embeds = model.model.embed_tokens(ids)
        made = [
            create_causal_mask(model.config, embeds, mask, None),
            create_causal_mask(model.config, embeds, None, StaticCache(model.config, max_cache_len=400)),
        ]
    assert [tuple(table.shape) for table in made] == [(2, 1, 1, 300), (2, 1, 1, 400)]
