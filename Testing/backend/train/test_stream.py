"""The order of samples: once an epoch over all processes, one shape a batch, resumable anywhere, for any counts."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maisi.train.data.stream import Stream

SHAPES = [(128, 128, 128), (256, 256, 128), (512, 512, 512)]
datasets = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=40)
sizes = st.fixed_dictionaries({shape: st.integers(1, 7) for shape in SHAPES})
worlds = st.integers(1, 5)
seeds = st.integers(0, 1000)


def a_stream(shapes, sizes, seed=0, weights=None) -> Stream:
    return Stream(shapes, [1.0] * len(shapes) if weights is None else weights, sizes.__getitem__, seed)


def taken(stream: Stream, world: int, steps: int, position=None) -> list:
    """What all processes take in ``steps``, in the order of the steps."""
    begun = position or stream.start(world)
    ranks = [list(islice(stream.batches(begun, rank, world), steps)) for rank in range(world)]
    return [batch for step in zip(*ranks, strict=True) for batch in step]


def whole_epochs(batches: list, count: int) -> list[Counter]:
    """How often each sample is in each of the first ``count`` epochs."""
    return [Counter(d.index for b in batches if b.epoch == e for d in b.draws) for e in range(count)]


@given(datasets, sizes, worlds, seeds)
@settings(deadline=None, max_examples=60)
def test_each_sample_is_seen_once_in_each_epoch_over_all_processes(shapes, sizes, world, seed):
    stream = a_stream(shapes, sizes, seed)
    batches = taken(stream, world, steps=-(-3 * stream.length() // world))
    assert [b.number for b in batches] == list(range(len(batches)))
    assert whole_epochs(batches, 3) == [Counter(range(len(shapes)))] * 3


@given(datasets, sizes, worlds, seeds)
@settings(deadline=None, max_examples=60)
def test_a_batch_has_one_shape_and_no_more_samples_than_asked_for(shapes, sizes, world, seed):
    stream = a_stream(shapes, sizes, seed)
    for batch in taken(stream, world, stream.length()):
        assert {shapes[draw.index] for draw in batch.draws} == {batch.shape}
        assert 1 <= len(batch.draws) <= sizes[batch.shape]


@given(datasets, sizes, worlds, worlds, seeds, st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None, max_examples=80)
def test_it_goes_on_from_any_position_also_with_another_number_of_processes(
    shapes, sizes, world, other, seed, done, more
):
    stream = a_stream(shapes, sizes, seed)
    before = taken(stream, world, done)
    position = stream.after(stream.start(world), done, world)
    fresh = a_stream(shapes, sizes, seed)
    rest = taken(fresh, world, more, position)
    assert before + rest == taken(stream, world, done + more)
    assert fresh.after(position, more, world) == stream.after(stream.start(world), done + more, world)
    # With another number of processes each sample still comes once an epoch.
    steps = -(-(2 * stream.length() + world) // other)
    elastic = before + taken(fresh, other, steps, position)
    complete = [epoch for epoch in {b.epoch for b in elastic} if epoch < max(b.epoch for b in elastic)]
    assert all(Counter(d.index for b in elastic if b.epoch == e for d in b.draws) == Counter(range(len(shapes)))
               for e in complete)  # fmt: skip


@given(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), seeds)
@settings(deadline=None, max_examples=60)
def test_the_processes_of_a_step_share_a_bucket_wherever_counts_allow(world, runs, seed):
    """Buckets of whole steps: no step mixes them, whatever the order."""
    shapes = [shape for shape, count in zip(SHAPES, runs, strict=True) for _ in range(count * world)]
    batches = taken(a_stream(shapes, dict.fromkeys(SHAPES, 1), seed), world, 3 * sum(runs))
    steps = [batches[i : i + world] for i in range(0, len(batches), world)]
    assert all(len({batch.shape for batch in step}) == 1 for step in steps)


def test_batches_of_a_bucket_are_of_nearly_equal_size():
    batches = taken(a_stream(SHAPES[:1] * 97, {SHAPES[0]: 96}), 1, 2)
    assert sorted(len(batch.draws) for batch in batches) == [48, 49]


def test_epochs_and_seeds_differ_in_their_order():
    orders = {
        (seed, epoch): tuple(d.index for b in taken(a_stream(SHAPES * 20, dict.fromkeys(SHAPES, 1), seed), 1, 120)
                             if b.epoch == epoch for d in b.draws)
        for seed in (0, 1) for epoch in (0, 1)
    }  # fmt: skip
    assert len(set(orders.values())) == 4


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3), worlds, seeds)
@settings(deadline=None, max_examples=60)
def test_weights_decide_how_often_a_sample_is_drawn(weights, world, seed):
    shapes = [SHAPES[i % 3] for i in range(len(weights))]
    stream = a_stream(shapes, dict.fromkeys(SHAPES, 2), seed, weights)
    batches = taken(stream, world, 4 * len(weights))
    expected = np.array(weights) * len(weights) / sum(weights)
    for counts in whole_epochs(batches, min(2, batches[-1].epoch)):
        seen = np.array([counts[i] for i in range(len(weights))])
        assert seen.sum() == len(weights)
        assert (np.abs(seen - expected) < 1 + 1e-6).all()
    draws = [d for b in batches if b.epoch == 0 for d in b.draws]
    assert len(set(draws)) == len(draws)  # a second draw of a sample is another one


def test_the_expected_number_of_draws_is_exact_over_many_epochs():
    stream = a_stream(SHAPES[:1] * 4, dict.fromkeys(SHAPES, 1), 3, [1.0, 1.0, 2.0, 0.5])
    batches = taken(stream, 1, 4 * 2000)
    counts = Counter(d.index for b in batches for d in b.draws)
    shares = np.array([counts[i] for i in range(4)]) / len(batches)
    np.testing.assert_allclose(shares, np.array([1, 1, 2, 0.5]) / 4.5, atol=0.01)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_a_stream_of_nothing_is_refused(weights):
    with pytest.raises(ValueError, match="samples with a weight"):
        a_stream(SHAPES[: len(weights)], {}, 0, weights)
