"""Scores of pairs against their formula."""

import torch

from peluche.nn.biaffine import Biaffine


def test_scores_of_all_pairs_and_of_chosen_ones():
    torch.manual_seed(0)
    layer = Biaffine(3, 4, 2)
    torch.nn.init.normal_(layer.weight)
    left, right = torch.randn(5, 6, 3), torch.randn(5, 7, 4)
    every = layer(left, right)
    assert every.shape == (5, 2, 6, 7)
    x = torch.cat([left[1, 2], torch.ones(1)])
    y = torch.cat([right[1, 3], torch.ones(1)])
    expected = torch.stack([x @ weight @ y for weight in layer.weight])
    torch.testing.assert_close(every[1, :, 2, 3], expected)
    paired = layer.paired(left[:, 2], right[:, 3])
    torch.testing.assert_close(paired, every[:, :, 2, 3])
