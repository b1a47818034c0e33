"""QK-clip: scores over the limit come down to it, whatever kind of attention makes them."""

import pytest
import torch

from peluche.data.packing import LanguageBatch
from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.nn.latent_attention import LatentConfig
from peluche.nn.watching import watching_scores
from peluche.objectives.base import Losses
from peluche.objectives.causal import CausalConfig
from peluche.objectives.clipping import ScoreClip
from peluche.recipes.language import LanguageRecipe

TEXT = {"kind": "document", "path": "a.txt"}


def batch(seed=0):
    tokens = torch.randint(4, 30, (3, 9), generator=torch.Generator().manual_seed(seed))
    return LanguageBatch(
        tokens[:, :-1],
        tokens[:, 1:],
        torch.ones(3, 8, dtype=torch.bool),
        torch.zeros(3, 8, dtype=torch.long),
    )


def model(**changes):
    torch.manual_seed(0)
    settings = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 16, "bias": False, "dropout": 0.0}
    made = DecoderConfig(**{**settings, **changes}).build(30)
    with torch.no_grad():
        for block in made.decoder.blocks:
            block.self_attention.query.weight.mul_(20)
    return made


def largest(of, batch):
    with watching_scores() as scores:
        of.hidden(batch.tokens, document_ids=batch.document_ids)
    return [largest for _, largest in scores]


KINDS = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True},
        {"kv_heads": 2},
        {"latent": LatentConfig(kv_rank=8, rope_width=4)},
    ],
    ids=["heads", "biases", "groups", "latent"],
)


@KINDS
def test_scores_of_the_first_layer_come_down_to_the_limit(changes):
    clipped, seen = model(**changes), batch()
    before = largest(clipped, seen)[0]
    limit = float(before.sort().values[1:3].mean())  # some heads are over it, some under
    objective = CausalConfig(qk_clip=limit).build()
    objective(clipped, seen)
    objective.stepped(clipped)
    after = largest(clipped, seen)[0]
    assert (before > limit).any()
    assert (before < limit).any()
    torch.testing.assert_close(after, before.clamp(max=limit))


class Rescaled:
    """A layer that only keeps what its heads are multiplied by."""

    factors = None

    def rescale_heads(self, factors):
        self.factors = factors


def test_heads_with_negative_scores_stay():
    clip, layer = ScoreClip(10.0), Rescaled()
    clip.added(Losses({}), [(layer, torch.tensor([50.0, -2.0, 8.0]))])
    clip.stepped()
    assert layer.factors.tolist() == pytest.approx([0.2, 1.0, 1.0])


def test_a_step_that_failed_leaves_nothing():
    clip, layer = ScoreClip(10.0), Rescaled()
    clip.added(Losses({}), [(layer, torch.tensor([torch.inf]))])
    clip.begin()
    clip.stepped()
    assert layer.factors is None


def test_the_largest_score_is_that_of_the_formula():
    watched, seen = model(), batch()
    attention = watched.decoder.blocks[0].self_attention
    hidden = watched.decoder.blocks[0].self_residual.norm(watched.decoder.embed(seen.tokens))
    query, key = (
        attention.head_positions(
            part(hidden).unflatten(-1, (4, 4)).transpose(1, 2), torch.arange(8)
        )
        for part in (attention.query, attention.key)
    )
    scores = (query @ key.mT / 2).masked_fill(~torch.ones(8, 8).tril().bool(), -torch.inf)
    torch.testing.assert_close(largest(watched, seen)[0], scores.amax((0, 2, 3)))


def test_all_batches_of_a_step_count():
    limit = 0.5
    one, both = model(), model()
    apart = CausalConfig(qk_clip=limit).build()
    for part in (batch(0), batch(1)):
        apart(one, part)
    apart.stepped(one)
    together = CausalConfig(qk_clip=limit).build()
    together(both, LanguageBatch.join([batch(0), batch(1)]))
    together.stepped(both)
    for a, b in zip(one.parameters(), both.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_evaluation_is_not_of_the_step():
    clipped, objective = model(), CausalConfig(qk_clip=0.01).build()
    before = clipped.decoder.blocks[0].self_attention.query.weight.clone()
    with torch.no_grad():
        objective(clipped, batch())
    objective.stepped(clipped)
    assert torch.equal(clipped.decoder.blocks[0].self_attention.query.weight, before)


def test_what_is_under_the_limit_stays_and_is_measured():
    untouched, seen = model(), batch()
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}
    objective = CausalConfig(qk_clip=1e6).build()
    losses = objective(untouched, seen)
    objective.stepped(untouched)
    assert all(torch.equal(tensor, before[name]) for name, tensor in untouched.state_dict().items())
    wanted = max(float(heads.max()) for heads in largest(untouched, seen))
    assert losses.metrics["largest_score"].total == pytest.approx(wanted)


@pytest.mark.parametrize("model", [{"kind": "decoder", "qk_norm": True}, {"kind": "recurrent_lm"}])
def test_where_there_is_nothing_to_clip(model):
    with pytest.raises(ConfigError, match="qk_clip bounds the scores of a decoder's attention"):
        LanguageRecipe.parse(
            {
                "name": "clipped",
                "data": {"train": TEXT, "validation": TEXT},
                "model": model,
                "objective": {"qk_clip": 100.0},
                "training": {"steps": 1},
            }
        )
