"""A layer of experts: grouped products against a loop over experts, forward and backward.

    python benchmarks/experts.py

Both have the same weights and routing; the median of several rounds in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from peluche.nn.experts import Experts, ExpertsConfig
from peluche.nn.machine import describe_machine
from side_by_side import table

# Experts, of them active, their width.
LAYERS = [(8, 2, 256), (32, 4, 64), (64, 8, 64)]


class Looped(Experts):
    """One product after the other."""

    def _experts(self, rows: Tensor, ends: Tensor) -> Tensor:
        sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
        found = []
        for place, own in enumerate(rows.split(sizes)):
            up = F.linear(own, self.up[place])
            if self.gate is None:
                inside = self.activation(up)
            else:
                inside = self.activation(F.linear(own, self.gate[place])) * up
            found.append(F.linear(inside, self.down[place]))
        return torch.cat(found)


def seconds(layer: Experts, rows: Tensor) -> float:
    started = time.perf_counter()
    layer(rows).square().sum().backward()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{describe_machine()}\n")
    lines = [["experts", "active", "width", "tokens", "grouped, ms", "loop, ms", "ratio"]]
    for count, active, inner in LAYERS:
        config = ExpertsConfig(count=count, active=active, d_ff=inner)
        torch.manual_seed(0)
        grouped = Experts(config, options.width, inner, "swiglu")
        looped = Looped(config, options.width, inner, "swiglu")
        looped.load_state_dict(grouped.state_dict())
        for tokens in (64, 768, 4096):
            rows = torch.randn(tokens, options.width)
            torch.testing.assert_close(grouped(rows), looped(rows), rtol=1e-4, atol=1e-5)
            taken = [
                (seconds(grouped, rows), seconds(looped, rows)) for _ in range(options.rounds + 2)
            ]
            ours, theirs = (1000 * statistics.median(each[2:]) for each in zip(*taken, strict=True))
            figures = f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"
            lines.append([*map(str, (count, active, inner, tokens)), *figures])
    print(table(lines))


if __name__ == "__main__":
    main()
