import math

import pytest
import torch

from unet2015 import InputError, weighted_cross_entropy

ONES = torch.ones(1, 4, 4, dtype=torch.long)


def test_the_mean_is_weighted():
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])  # p(1) = 1/2 and 3/4
    target = torch.tensor([[[1, 0]]])
    weight = torch.tensor([[[1.0, 3.0]]])
    expected = (1 * math.log(2) + 3 * math.log(4)) / 4
    assert weighted_cross_entropy(logits, target, weight).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (4, 4), ()])
def test_targets_and_weights_that_would_broadcast_are_refused(shape):
    logits, ones = torch.zeros(2, 2, 4, 4), torch.ones(2, 4, 4, dtype=torch.long)
    for target, weight in [(ones, torch.ones(shape)), (torch.ones(shape).long(), ones)]:
        with pytest.raises(InputError, match=r"need a target and weights of shape \(2, 4, 4\)"):
            weighted_cross_entropy(logits, target, weight)


def test_a_single_class_is_refused():
    with pytest.raises(InputError, match="add one for the background"):
        weighted_cross_entropy(torch.zeros(1, 1, 4, 4), ONES, torch.ones(1, 4, 4))


def test_logits_without_classes_are_refused():
    with pytest.raises(InputError, match="at least two classes"):
        weighted_cross_entropy(torch.zeros(4), torch.ones(4).long(), torch.ones(4))


def test_targets_of_fractions_are_refused():
    with pytest.raises(InputError, match=r"target is torch\.float32: give integers"):
        weighted_cross_entropy(torch.zeros(1, 2, 4, 4), ONES * 0.99, torch.ones(1, 4, 4))


def test_arrays_are_refused():
    with pytest.raises(InputError, match=r"convert arrays with torch\.from_numpy"):
        weighted_cross_entropy(torch.zeros(1, 2, 4, 4), ONES.numpy(), torch.ones(1, 4, 4))


@pytest.mark.parametrize("wrong", [-100, -1, 2])
def test_no_number_but_a_class_is_accepted_in_the_target(wrong):
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        weighted_cross_entropy(torch.zeros(1, 2, 4, 4), ONES * wrong, torch.ones(1, 4, 4))


def test_zero_weights_give_zero_loss_and_gradient():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = weighted_cross_entropy(logits, ONES, torch.zeros(1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_pixels_of_weight_zero_do_not_matter():
    torch.manual_seed(0)
    logits, weight = torch.randn(1, 2, 5, 5), torch.rand(1, 5, 5)
    weight[:, 2:] = 0
    target = torch.zeros(1, 5, 5, dtype=torch.uint8)
    changed = target.clone()
    changed[:, 2:] = 1
    assert weighted_cross_entropy(logits, target, weight) == weighted_cross_entropy(
        logits, changed, weight
    )


@pytest.mark.parametrize("autocast", [False, True])
def test_the_loss_is_computed_in_float32(autocast):
    logits = torch.tensor([[[[0.3]], [[-0.7]]]], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = weighted_cross_entropy(logits, ONES[:, :1, :1], torch.ones(1, 1, 1))
    assert loss.dtype == torch.float32
    difference = logits[0, 0, 0, 0].item() - logits[0, 1, 0, 0].item()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(difference)), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_scale_of_the_weights_does_not_matter(scale):
    logits, weight = torch.randn(1, 2, 4, 4), torch.rand(1, 4, 4)
    expected = weighted_cross_entropy(logits, ONES, weight)
    torch.testing.assert_close(weighted_cross_entropy(logits, ONES, scale * weight), expected)


def test_the_sum_of_weights_in_float16_does_not_overflow():
    logits, ones = torch.zeros(1, 2, 300, 300), torch.ones(1, 300, 300)
    loss = weighted_cross_entropy(logits, ones.long(), ones.half())
    assert loss.item() == pytest.approx(math.log(2))
