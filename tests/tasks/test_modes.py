"""While a model is used, nothing of it trains; afterwards the same parts do as before."""

from torch import nn

from peluche.tasks.modes import evaluating


def test_parts_that_trained_train_again_and_no_others():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()), nn.Dropout())
    model[1].eval()
    before = [each.training for each in model.modules()]
    try:
        with evaluating(model):
            assert not any(each.training for each in model.modules())
            raise KeyError
    except KeyError:
        pass
    assert [each.training for each in model.modules()] == before
