"""Which weights decay, and steps that come to nothing."""

import torch

from train.config import OptimizerConfig
from train.optimizer import Veto, make_optimizer


def test_matrices_decay_and_vectors_do_not() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    model.twin = model[0]  # shared weights are there once
    decayed, others = make_optimizer(model, OptimizerConfig(weight_decay=0.3)).param_groups
    assert [tuple(each.shape) for each in decayed["params"]] == [(3, 4)]
    assert [tuple(each.shape) for each in others["params"]] == [(3,), (3,), (3,)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)


def test_a_vetoed_step_changes_nothing() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(model, OptimizerConfig())
    veto = Veto(optimizer)
    model(torch.ones(1, 2)).sum().backward()
    before = model.weight.detach().clone()
    veto.is_on = True
    optimizer.step()
    assert torch.equal(model.weight, before)
    assert not optimizer.state
    veto.is_on = False
    optimizer.step()
    assert not torch.equal(model.weight, before)
