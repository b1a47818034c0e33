"""A word's vector does not depend on the padding after it, and does on its letters' order."""

import torch

from peluche.nn.characters import CharacterConvolution


def make():
    torch.manual_seed(0)
    return CharacterConvolution(20, embedding=5, filters=4, widths=(2, 3))


def test_padding_does_not_matter():
    layer = make()
    words = torch.tensor([[5, 6, 7, 0, 0], [8, 0, 0, 0, 0], [2, 3, 4, 5, 6]])
    together = layer(words)
    assert together.shape == (3, layer.width) == (3, 8)
    for row, length in enumerate((3, 1, 5)):
        torch.testing.assert_close(layer(words[row : row + 1, :length])[0], together[row])


def test_the_largest_response_over_places_with_a_character():
    layer = make()
    word = torch.tensor([[5, 6, 7]])
    vectors = torch.nn.functional.pad(layer.embedding(word)[0], (0, 0, 1, 1))
    convolution = layer.convolutions[0]
    responses = [
        torch.tanh(
            (convolution.weight * vectors[place : place + 2].t()).sum((1, 2)) + convolution.bias
        )
        for place in range(4)
    ]
    torch.testing.assert_close(layer(word)[0, :4], torch.stack(responses).amax(0))


def test_order_matters():
    layer = make()
    one, other = layer(torch.tensor([[5, 6, 7], [7, 6, 5]]))
    assert not torch.allclose(one, other)
