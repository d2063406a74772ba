"""Recommendations from rows whose right answer is known, and on the demo model, whose cliff was measured."""

import itertools
from dataclasses import replace

import pytest

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.positions import SelfExtend, suggest
from selfextend_viz.sweeps.paired import MOST, Paired, paired, sign_test
from selfextend_viz.sweeps.recommend import recommend
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import standings

L, N = 320, 1000
DEPTHS = (0.0, 0.5, 1.0)
A, B, C = SelfExtend(4, 80), SelfExtend(8, 80), SelfExtend(2, 80)


def asked(setting, outcomes, *, depth=0.5, length=N, task="passkey:natural", seed=0, fingerprint="m"):
    """A pass-key row whose prompts were answered as told, 1 right and 0 wrong."""
    return CellRow(
        task=task,
        method=str(setting),
        group_size=setting.group_size,
        neighbor_window=setting.neighbor_window,
        length=length,
        depth=depth,
        seed=seed,
        trials=len(outcomes),
        exact=sum(outcomes),
        outcomes=tuple(outcomes),
        fingerprint=fingerprint,
    )


def everywhere(setting, outcomes, **changes):
    return [asked(setting, outcomes, depth=depth, **changes) for depth in DEPTHS]


def priced(setting, price, *, length=N):
    row = asked(setting, (), depth=None, task="divergence", length=length)
    return replace(row, trials=4, exact=None, outcomes=None, kl=2 * price, kl_in_range=price)


def right(count, of=16):
    return [1] * count + [0] * (of - count)


def recommended(*rows, **options):
    return recommend(list(itertools.chain(*rows)), N, context_length=L, **options)


@pytest.mark.parametrize(("better", "worse"), list(itertools.product(range(6), range(6))))
def test_the_sign_test_counts_all_ways_that_pairs_can_fall(better, worse):
    pairs = better + worse
    ways = list(itertools.product((0, 1), repeat=pairs))
    extreme = [way for way in ways if abs(2 * sum(way) - pairs) >= abs(better - worse)]
    assert sign_test(better, worse) == pytest.approx(len(extreme) / len(ways))


def test_the_interval_of_a_difference_is_agresti_and_mins():
    low, high = Paired(100, 20, 5).interval  # by hand: centre 15 / 102, half 1.96 * sqrt(26 - 225 / 102) / 102
    assert (low, high) == pytest.approx((0.15 / 1.02 - 0.09374, 0.15 / 1.02 + 0.09374), abs=1e-4)
    assert Paired(20, 0, 0).interval[1] > 0.05 > Paired(60, 0, 0).interval[1]


@pytest.mark.parametrize("pairs", [Paired(12, 3, 0), Paired(10, 0, 0), Paired(40, 6, 2), Paired(0, 0, 0)])
def test_the_prompts_asked_for_are_the_fewest_that_decide(pairs):
    more = pairs.more_prompts()
    assert pairs.verdict() == "undecided"
    assert 0 < more < MOST

    def grown(by):
        times = (pairs.prompts + by) / pairs.prompts if pairs.prompts else 0
        return Paired(pairs.prompts + by, round(pairs.better * times), round(pairs.worse * times))

    assert grown(more).verdict() != "undecided"
    assert all(grown(fewer).verdict() == "undecided" for fewer in range(more))


def test_pairs_are_of_the_same_prompts():
    first = {("passkey", 0.5, 0): (1, 1, 0, 1), ("passkey", 0.5, 1): (1, 1)}
    second = {("passkey", 0.5, 0): (1, 0, 1), ("passkey", 0.5, 2): (0, 0)}
    assert paired(first, second) == Paired(3, 1, 1)


def test_a_setting_stands_by_its_worst_depth_over_all_seeds():
    rows = [asked(A, right(8, 8)), asked(A, right(2, 8), seed=1), asked(A, right(9, 10), depth=1.0), priced(A, 0.25)]
    (standing,) = standings([*rows, asked(A, right(0), length=640), priced(A, 0.75, length=640)], N)
    assert (standing.worst.depth, standing.worst.counts) == (0.5, "10/16")
    assert standing.worst.bounds == wilson_interval(10, 16)
    assert (standing.exact, standing.trials) == (19, 26)
    assert standing.price == 0.5  # over all lengths: it does not depend on N
    assert standing.kl == 0.5  # at this length alone


def test_the_better_worst_depth_is_taken_and_decided():
    bad_at_the_start = [asked(B, right(2), depth=0.0), *(asked(B, right(16), depth=depth) for depth in (0.5, 1.0))]
    found = recommended(everywhere(A, right(16)), bad_at_the_start)
    assert found.setting == A
    assert found.decided
    assert found.more_trials == 0
    assert found.comparisons[0].pairs == Paired(48, 14, 0)
    assert found.code == "SelfExtend(group_size=4, neighbor_window=80)"
    assert "16 of 16 keys at its worst depth" in found.sentence


def test_among_equals_the_price_in_range_decides_and_then_the_order_task():
    equals = everywhere(A, right(16)), everywhere(B, right(16))
    assert recommended(*equals, [priced(A, 0.02), priced(B, 0.01)]).setting == B
    assert recommended(*equals, [priced(A, 0.01), priced(B, 0.02)]).setting == A
    ordered = [asked(A, right(3), task="order"), asked(B, right(12), task="order")]
    found = recommended(*equals, ordered)
    assert found.setting == B
    assert found.choice.order == (12, 16)
    assert found.decided


def test_what_is_as_good_and_cheaper_is_named():
    rows = [*everywhere(A, right(40, 40)), *everywhere(B, right(39, 40)), priced(A, 0.02), priced(B, 0.01)]
    found = recommended(rows)
    assert found.setting == A
    assert f"{B} is as good and costs less in range, 0.010 nats against 0.020" in str(found)


def test_what_is_as_good_and_keeps_more_order_is_named():
    rows = [*everywhere(A, right(16)), *everywhere(B, right(16)), priced(A, 0.01), priced(B, 0.02)]
    ordered = [asked(A, right(4), task="order"), asked(B, right(15), task="order")]
    said = f"{B} is as good and keeps more order: 15 of 16 against 4 of 16"
    assert said in str(recommended(rows, ordered))
    assert "keeps more order" not in str(recommended(rows, [asked(A, right(13), task="order"), ordered[1]]))


def test_close_settings_are_not_decided_and_it_says_how_many_trials_would():
    found = recommended(everywhere(A, right(8, 8)), everywhere(B, right(7, 8)))
    (comparison,) = found.comparisons
    assert comparison.verdict == "undecided"
    assert not found.decided
    assert found.more_trials == -(-comparison.more_prompts // 3)
    assert f"about {found.more_trials} more trials in each cell would tell against {B}" in found.sentence


def test_a_choice_that_may_fail_every_other_prompt_wants_more_trials_itself():
    found = recommended([asked(A, right(3, 3))])
    assert found.setting == A
    assert found.more_trials == 1  # Wilson's lower bound of 3 of 3 is 0.44, of 4 of 4 it is 0.51
    assert recommended([asked(A, right(4, 4))]).decided


def test_where_all_fail_none_is_recommended():
    found = recommended(everywhere(A, right(0)), everywhere(C, right(1)))
    assert found.setting is None
    assert found.decided
    assert found.code == ""
    assert "no setting reads" in str(found)


def test_settings_that_lack_cells_are_shown_but_not_ranked_against():
    found = recommended(everywhere(A, right(16)), [asked(B, right(16), depth=0.0)])
    assert found.setting == A
    assert [each.setting for each in found.unfinished] == [B]
    assert not found.decided
    assert "1 settings still lack cells" in found.sentence


def test_tests_share_the_chance_of_a_false_difference():
    rivals = [SelfExtend(size, 80) for size in range(5, 25)]
    rows = [*everywhere(A, right(16)), *(row for rival in rivals for row in everywhere(rival, right(14)))]
    alone = recommended(everywhere(A, right(16)), everywhere(rivals[0], right(14)))
    assert alone.comparisons[0].verdict == "better"  # 6 to 0: p = 0.03
    assert {each.verdict for each in recommended(rows).comparisons} == {"undecided"}


def test_it_says_what_the_rule_and_suggest_say():
    suggested = suggest(L, N)[0]
    untried = str(recommended(everywhere(A, right(16))))
    assert f"suggest says {SelfExtend(suggested.group_size, suggested.neighbor_window)}, which these" in untried
    assert "the authors' rule disagrees" in untried  # 80 + 920 / 4 = 310, of L = 320
    worse = recommended(everywhere(A, right(16)), everywhere(suggested, right(2)))
    assert f"suggest says {SelfExtend(7, 80)}: worse, with 2 of 16" in "\n".join(worse.notes())
    same = recommended(everywhere(suggested, right(16)))
    assert "suggest says the same" in str(same)
    assert "the authors' rule agrees" in str(same)


def test_notebooks_show_it_as_a_table():
    found = recommended(everywhere(A, right(16)), [priced(A, 0.5)])
    page = found._repr_html_()
    assert "<table>" in page
    assert found.code in page
    assert all(f"<td>{cell}</td>" in page for cell in found.lines()[0])


def test_the_papers_prompt_alone_is_said_to_be_that():
    alone = "paper's prompt alone"
    assert alone in str(recommended(everywhere(A, right(16), task="passkey")))
    both = everywhere(A, right(16), task="passkey"), everywhere(A, right(16))
    assert alone not in str(recommended(*both))


def test_the_next_longer_length_stands_in_and_is_named():
    found = recommend(everywhere(B, right(16), length=1100), N, context_length=L)
    assert found.measured_length == 1100
    assert "N = 1,000 itself has no cells" in str(found)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], {}, "0 cells ask a Self-Extend setting"),
        ([asked(A, right(4), length=640)], {}, "the longest pass keys in these cells have N = 640"),
        ([asked(A, right(4))], {"context_length": None}, "context_length is missing"),
        ([asked(A, right(4)), asked(A, right(4), seed=1, fingerprint="other")], {}, "of 2 models"),
        ([asked(A, right(4))], {"error": 1.5}, "error is 1.5"),
        ([asked(A, right(4))], {"margin": 0}, "margin is 0"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(rows, options, words):
    with pytest.raises(ValueError, match=words):
        recommend(rows, N, **{"context_length": L, **options})
