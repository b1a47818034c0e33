"""What keeps the routers of a mixture of experts in order: terms beside an objective's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from peluche.nn.experts import Experts, ExpertsConfig, Routing
from peluche.objectives.base import Losses, Metric, Term
from peluche.processes import joined

BALANCE, Z = "balance", "router_z"


class RoutingTerms:
    """Terms `balance` (over the whole step, a mean over layers) and `router_z` (per token).

    Metrics `busiest` and `idlest` are the loads of the busiest and of the least busy expert over an
    even share, means over layers.
    """

    def __init__(self, config: ExpertsConfig) -> None:
        self.config = config
        self._loads: list[Tensor] = []

    @property
    def whole_step(self) -> bool:
        """Balance is a product of two means over the step, not a sum over tokens."""
        return self.config.balance == "loss"

    def counts(self, tokens: int) -> dict[str, float]:
        """The count of each term for a batch of so many tokens, padding included."""
        counts = {Z: float(tokens)}
        return {BALANCE: 1.0, **counts} if self.whole_step else counts

    def added(self, losses: Losses, routings: Sequence[Routing]) -> Losses:
        """`losses` with the terms and the metric of what routers did, a routing for each layer."""
        layers = len(routings)
        tokens = float(len(routings[0].logits))
        z = sum((routing.z_loss() for routing in routings), torch.zeros(())) / layers
        terms = {**losses.terms, Z: Term(z, tokens, self.config.z_weight)}
        loads = torch.stack([routing.load() for routing in routings])
        if self.whole_step:
            everywhere, share = _of_all_processes(loads, tokens)
            pairs = zip(routings, everywhere, strict=True)
            even = torch.stack([routing.balance_loss(load) for routing, load in pairs]).mean()
            terms[BALANCE] = Term(even * share, 1.0, self.config.balance_weight)
        if torch.is_grad_enabled():  # what an evaluation chooses is not of the step
            self._loads.append(loads * tokens)
        over_even = loads.sort(1).values.mean(0) * float(tokens * self.config.count)
        shares = {"busiest": over_even[-1], "idlest": over_even[0]}
        metrics = {name: Metric(float(share), tokens) for name, share in shares.items()}
        return Losses(terms, {**losses.metrics, **metrics})

    def begin(self) -> None:
        """Before every try of a step."""
        self._loads = []

    def stepped(self, model: nn.Module) -> None:
        """After a step: even out what was chosen in it, where the balance is a bias."""
        loads, self._loads = self._loads, []
        if self.config.balance != "bias" or not loads:
            return
        layers = [module for module in model.modules() if isinstance(module, Experts)]
        everywhere, _ = _of_all_processes(torch.stack(loads).sum(0), 1.0)
        for layer, load in zip(layers, everywhere, strict=True):
            layer.even_out(load)


def _of_all_processes(loads: Tensor, tokens: float) -> tuple[Tensor, float]:
    """The mean of loads over the tokens of all processes, and this one's share of those tokens
    over an even share; where one computes alone, as when it evaluates, its own.

    Balance has no gradient by the load, so with that of all a process's share of the loss has the
    share of the gradient.
    """
    processes = joined()
    if processes.count == 1 or not torch.is_grad_enabled():
        return loads, 1.0
    own = {str(number): load * tokens for number, load in enumerate(loads.flatten().tolist())}
    total = processes.total({"tokens": tokens, **own})
    of_all = total.pop("tokens")
    together = torch.tensor(list(total.values()), dtype=loads.dtype, device=loads.device)
    return together.view_as(loads) / of_all, processes.count * tokens / of_all
