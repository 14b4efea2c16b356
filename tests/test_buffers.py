"""Memory of batches: used again when nobody holds it, and never before."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch

import onepfrac
from onepfrac.buffers import Buffers

RECIPE = onepfrac.OnePFrac(num_classes=4, points=500, canvas=32, pad=2, min_inked=0.0)


def test_memory_comes_back_when_the_last_tensor_that_shares_it_is_gone() -> None:
    buffers = Buffers()
    first = buffers.take(1000)
    assert first.dtype == torch.uint8
    assert first.shape == (1000,)
    assert first.data_ptr() % 64 == 0
    address, view = first.data_ptr(), first.view(torch.float32)[10:20]
    del first
    assert buffers.take(1000).data_ptr() != address
    array = view.numpy()
    del view
    assert buffers.take(1000).data_ptr() != address
    del array
    gc.collect()
    assert buffers.take(1000).data_ptr() == address


def test_a_block_that_is_too_small_or_far_too_large_is_not_used_again() -> None:
    buffers = Buffers()
    for first, second in ((1000, 5000), (100_000, 1000)):
        taken = buffers.take(first)
        del taken
        again = buffers.take(second)
        assert again.numel() == second
        again.fill_(1)


def test_at_most_one_block_waits() -> None:
    buffers = Buffers()
    held = [buffers.take(1000) for _ in range(5)]
    held.clear()
    assert len(buffers._spare) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_batch_that_is_held_is_never_written_again(dtype: torch.dtype, channels_last: bool) -> None:
    stream = RECIPE.stream(4, size=16, augment="deit", dtype=dtype, channels_last=channels_last)
    batches = iter(stream)
    held = [next(batches)[0][1:, 0] for _ in range(4)]  # views alone
    copies = [batch.clone() for batch in held]
    for _ in range(4):
        next(batches)
    assert all(torch.equal(batch, copy) for batch, copy in zip(held, copies, strict=True))
    assert len({batch.data_ptr() for batch in held}) == 4


def test_a_batch_that_autograd_needs_is_held() -> None:
    batches = iter(RECIPE.stream(4, size=16, augment="deit"))
    weight = torch.ones(3, requires_grad=True)

    def loss_of_a_batch() -> tuple[torch.Tensor, torch.Tensor]:
        images = next(batches)[0]
        return (images * weight[:, None, None]).sum(), images.double().sum((0, 2, 3))

    loss, expected = loss_of_a_batch()
    for _ in range(3):
        next(batches)
    loss.backward()
    assert np.allclose(weight.grad, expected, rtol=1e-3, atol=1e-2)  # type: ignore[arg-type]


def test_a_loop_over_a_stream_uses_two_blocks() -> None:
    addresses = set()
    for number, (images, _) in enumerate(RECIPE.stream(4, size=16, augment="deit")):
        addresses.add(images.data_ptr())
        if number == 10:
            break
    assert len(addresses) <= 3  # two in turn; the first may be of another allocation


def test_a_stream_is_pickled_without_its_memory() -> None:
    stream = RECIPE.stream(64, size=64, augment="deit")
    next(iter(stream))
    text = pickle.dumps(stream)
    assert len(text) < 100_000
    again = pickle.loads(text)
    assert torch.equal(next(iter(again))[0], next(iter(stream))[0])
