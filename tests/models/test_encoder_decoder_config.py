import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.errors import ConfigError
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.registry import parse_model


@pytest.mark.parametrize(
    ("values", "complaint", "nearest"),
    [
        (
            {"d_model": 256, "heads": 6},
            "d_model 256 is not divisible by heads 6",
            "heads 4, or d_model 258",
        ),
        (
            {"d_model": 100, "heads": 8},
            "d_model 100 is not divisible by heads 8",
            "heads 10, or d_model 96",
        ),
        ({"d_model": 4, "heads": 9}, "d_model 4 is not divisible by heads 9", "d_model 9"),
        (
            {"heads": 8, "kv_heads": 3},
            "heads 8 is not divisible by kv_heads 3",
            "kv_heads 2",
        ),
        ({"heads": 4, "kv_heads": 8}, "heads 4 is not divisible by kv_heads 8", "kv_heads 4"),
        (
            {"d_model": 60, "heads": 4, "positions": "rope"},
            "a head has 15",
            "d_model 64",
        ),
        (
            {"d_model": 63, "heads": 3, "positions": "sinusoidal"},
            "even d_model, not 63",
            "d_model 60",
        ),
    ],
)
def test_impossible_combinations_name_the_nearest_possible(values, complaint, nearest):
    with pytest.raises(ConfigError) as caught:
        EncoderDecoderConfig.parse(values, where="recipe.yaml")
    assert complaint in caught.value.what
    assert nearest in caught.value.what
    assert caught.value.where == "recipe.yaml"


@given(
    d_model=st.integers(1, 600),
    heads=st.integers(1, 17),
    positions=st.sampled_from(["none", "rope", "sinusoidal"]),
)
@settings(max_examples=100, deadline=None)
def test_following_the_advice_ends_in_a_valid_model(d_model, heads, positions):
    values = {"d_model": d_model, "heads": heads, "positions": positions}
    for _ in range(2):
        try:
            EncoderDecoderConfig.parse(values)
            return
        except ConfigError as error:
            values["d_model"] = int(error.what.rsplit("d_model ", 1)[1])
    EncoderDecoderConfig.parse(values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"layers": 0}, "layers"),
        ({"activation": "swish"}, "activation"),
        ({"positions": "sin"}, "positions"),
        ({"d_model": "wide"}, "d_model"),
        ({"d_modle": 64}, "did you mean 'd_model'?"),
    ],
)
def test_wrong_values_name_their_key(values, key):
    with pytest.raises(ConfigError) as caught:
        parse_model({"kind": "encoder_decoder"} | values)
    assert key in str(caught.value)
