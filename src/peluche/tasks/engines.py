"""What a language model is run by, as much of it as fits the memory it may take."""

from __future__ import annotations

from pydantic import Field

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.generation.sampler import Sampler
from peluche.inference.draft_model import DraftModel
from peluche.inference.engine import Engine, EngineConfig
from peluche.inference.runner import KVCache, Runner, Weights, fastest_runner
from peluche.inference.speculation import Drafter, PromptLookup
from peluche.inference.state_engine import StateEngine
from peluche.models.decoder import Decoder
from peluche.models.language_model import LanguageModel

# Bytes of a number in the memory of keys and values, and of the scale of a vector of them.
BYTES: dict[KVCache, tuple[int, int]] = {"float32": (4, 0), "float16": (2, 0), "int8": (1, 4)}


class GeneratorConfig(Config):
    """How a model runs."""

    engine: EngineConfig = EngineConfig()
    memory: float = Field(5e8, gt=0, description="the most bytes for keys and values")
    block_size: int = Field(16, gt=0, description="tokens of a block of that memory")
    precision: Weights = Field("auto", description="how the weights are stored; a draft's: auto")
    kv_cache: KVCache = Field("float32", description="how keys and values are stored")
    lookup: bool = Field(False, description="guess that what was said before is said again")


def start_engine(
    model: LanguageModel,
    sampler: Sampler,
    context: int | None,
    config: GeneratorConfig,
    draft: LanguageModel | None,
) -> Engine | StateEngine:
    """What runs a model: the engine of decoders, if it is one.

    Raises:
        ConfigError: it cannot run as `config` says, or not with this draft.
    """
    if config.lookup and draft is not None:
        raise ConfigError("lookup and a draft model exclude each other", remedy="drop one of them")
    others = [one for one in (model, draft) if one is not None and not isinstance(one, Decoder)]
    if others and (config.lookup or draft is not None):
        raise ConfigError(
            f"guesses are for decoders, and by decoders, not '{others[0].config.kind}'",
            remedy="leave lookup and the draft model out",
        )
    if not isinstance(model, Decoder):
        if config.kv_cache != "float32":
            raise ConfigError(
                f"a model of kind '{model.config.kind}' remembers no keys and values",
                where="kv_cache",
                remedy="leave kv_cache out",
            )
        return StateEngine(model, sampler)
    drafter: Drafter | None = PromptLookup() if config.lookup else None
    if draft is not None:
        # Guesses cost no exactness, however coarse the weights are that they are made by.
        fast = config.model_copy(update={"precision": "auto"})
        smaller, running = _runner(draft.eval(), context, fast), config.engine.running
        drafter = DraftModel(smaller, sampler.special, sampler.vocabulary, running)
    return Engine(_runner(model, context, config), sampler, config.engine, drafter)


def refresh_engine(
    engine: Engine | StateEngine, model: LanguageModel, draft: LanguageModel | None
) -> None:
    """Go on with the weights of the moment, of models like those that it was started with."""
    if isinstance(engine, StateEngine):
        engine.refresh(model.eval())
    elif isinstance(model, Decoder):
        if isinstance(engine.drafter, DraftModel) and isinstance(draft, Decoder):
            engine.drafter.refresh(draft.eval())
        engine.refresh(model.eval())


def bytes_per_token(model: LanguageModel, kv_cache: KVCache) -> int:
    """What the keys and values of a token take, in all layers."""
    (number, scale), (heads, *widths) = BYTES[kv_cache], model.config.remembered
    return model.config.layers * heads * sum(number * width + scale for width in widths if width)


def _runner(model: LanguageModel, context: int | None, config: GeneratorConfig) -> Runner:
    """With as much memory as is of use and allowed."""
    size = bytes_per_token(model, config.kv_cache)
    tokens = int(config.memory // size)
    if tokens < config.block_size:
        raise ConfigError(
            f"{config.memory / 1e6:g} MB do not hold the keys and values of one block of "
            f"{config.block_size} tokens, {size} bytes each",
            where="memory",
            remedy=f"give at least {size * config.block_size / 1e6:g} MB",
        )
    if context is not None:
        tokens = min(tokens, (context + config.block_size) * config.engine.running)
    return fastest_runner(
        model, tokens // config.block_size, config.block_size, config.precision, config.kv_cache
    )
