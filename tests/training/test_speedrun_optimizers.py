"""Steps for sparse tables, and a decay that only helps where the step goes anyway."""

import pytest
import torch
from torch import nn

from course_lib.models.speedrun import Speedrun, SpeedrunSettings
from course_lib.text.batches import shuffled_windows
from course_lib.training.loop import optimizer_step
from course_lib.training.optimizers import Muon
from course_lib.training.settings import TrainSettings
from course_lib.training.speedrun_optimizers import CautiousMuon, RowAdagrad, speedrun_optimizers
from course_lib.training.trainer import train


def test_row_adagrad_is_torchs_adagrad_where_a_row_is_one_number():
    ours, theirs = (nn.Embedding(7, 1, sparse=sparse) for sparse in (True, False))
    theirs.load_state_dict(ours.state_dict())
    steps = RowAdagrad(ours.parameters(), lr=0.3), torch.optim.Adagrad(theirs.parameters(), lr=0.3)
    for seed in range(5):
        ids = torch.randint(7, (6,), generator=torch.Generator().manual_seed(seed))
        for table, optimizer in zip((ours, theirs), steps, strict=True):
            optimizer.zero_grad()
            (table(ids) * torch.arange(1.0, 7)[:, None]).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_row_adagrad_by_hand_and_leaves_other_rows_alone():
    table = nn.Embedding.from_pretrained(torch.ones(3, 2), freeze=False, sparse=True)
    optimizer = RowAdagrad(table.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (table(torch.tensor([1, 1])) * torch.tensor([3.0, 4.0])).sum().backward()
        optimizer.step()
    # the gradient is (6, 8), its mean square 50; the second step's sum of squares 100
    row = 1 - 0.5 * torch.tensor([6.0, 8.0]) * (1 / 50**0.5 + 1 / 100**0.5)
    torch.testing.assert_close(table.weight, torch.stack([torch.ones(2), row, torch.ones(2)]))


def test_a_cautious_decay_shrinks_only_what_the_step_makes_smaller():
    start = torch.tensor([[2.0, -2.0], [2.0, 2.0]])
    gradient = torch.tensor([[1.0, 1.0], [-1.0, 2.0]])
    matrices = [nn.Parameter(start.clone()) for _ in range(2)]
    for matrix in matrices:
        matrix.grad = gradient.clone()
    Muon([matrices[0]], lr=0.1).step()
    CautiousMuon([matrices[1]], lr=0.1, cautious_decay=0.5).step()
    plain = matrices[0].detach()
    towards_0 = plain.abs() < start.abs()
    assert towards_0.any() and not towards_0.all()
    torch.testing.assert_close(matrices[1].detach(), plain - 0.05 * start * towards_0)


def test_every_parameter_has_one_optimizer():
    model = Speedrun(
        SpeedrunSettings(
            30, 8, d_model=16, n_layers=2, n_heads=2, value_layers=1, ngram_order=3, first_mix=True
        )
    )
    muon, adam, rows = speedrun_optimizers(model, cautious_decay=0.1)
    assert isinstance(muon, CautiousMuon) and isinstance(rows, RowAdagrad)
    groups = [p for each in (muon, adam, rows) for g in each.param_groups for p in g["params"]]
    assert sorted(map(id, groups)) == sorted(map(id, model.parameters()))
    assert rows.param_groups[0]["params"] == [model.ngrams.weight]
    assert all(p.ndim == 2 for p in muon.param_groups[0]["params"])


def test_the_trainer_takes_optimizers_of_a_function_and_sparse_gradients():
    torch.manual_seed(0)
    model = Speedrun(SpeedrunSettings(30, 8, d_model=16, n_layers=1, n_heads=2, ngram_order=3))
    tokens = torch.arange(200) ** 2 % 30
    settings = TrainSettings(30, optimizer=speedrun_optimizers)
    history = train(model, shuffled_windows(tokens, 4, 8), settings)
    assert history.loss[-1] < history.loss[0] / 2 and model.ngrams.weight.any()
    assert settings.as_data()["optimizer"] == "speedrun_optimizers"


def test_the_length_of_a_sparse_gradient_is_that_of_the_dense_one():
    lengths, moved = [], []
    for sparse in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 3, sparse=sparse), nn.Linear(3, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

        def backward(model=model):
            loss = model(torch.tensor([1, 1, 2])).square().sum() * 9
            loss.backward()
            return loss.item()

        lengths.append(optimizer_step(model, [optimizer], backward, max_norm=0.1)[1])
        moved.append(model[0].weight.detach().clone())
    assert lengths[0] == pytest.approx(lengths[1])
    torch.testing.assert_close(*moved)


def test_a_sparse_gradient_that_is_not_finite_is_named():
    model = nn.Sequential(nn.Embedding(5, 3, sparse=True))

    def backward():
        (model(torch.tensor([2])) * torch.tensor([1.0, torch.nan, 1.0])).sum().backward()
        return 1.0

    with pytest.raises(FloatingPointError, match="gradient of 0.weight is NaN in 1 of 3 places"):
        optimizer_step(model, [], backward, 1.0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: RowAdagrad(p, lr=-1.0), "lr -1.0"),
        (lambda p: CautiousMuon(p, cautious_decay=-0.1), "cautious_decay -0.1"),
    ],
)
def test_numbers_below_0_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make([nn.Parameter(torch.ones(2, 2))])
