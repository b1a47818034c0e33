"""Recurrent layers: fused kernels for speed, and explicit cells whose gates can be looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from peluche.nn.trace import is_tracing, record, scope

CellKind = Literal["rnn", "gru", "lstm"]
FUSED: dict[CellKind, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class Carried(NamedTuple):
    """What goes from one token to the next.

    Attributes:
        hidden: (layers · directions, B, width).
        cell: the LSTM's memory, of the same shape; None for other kinds.
    """

    hidden: Tensor
    cell: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """The tensors that there are, as a state keeps them."""
        return {name: tensor for name, tensor in self._asdict().items() if tensor is not None}


class Recurrent(nn.Module):
    """Stacked recurrent layers in one or both directions.

    RNN is Elman's (1990) with tanh, LSTM that of Hochreiter & Schmidhuber (1997) with forget gates
    (Gers et al. 2000), GRU that of Cho et al. (2014) with the reset gate after the product. Padding
    is never read: a backward direction begins at each row's last token.

    While somebody looks (`tracing()`), explicit cells run instead of the fused kernel, record
    their gates, and give the same to 1e-6.

    Args:
        inputs: width of what is read.
        width: of the hidden state, per direction.
        dropout: between layers.
    """

    def __init__(
        self,
        kind: CellKind,
        inputs: int,
        width: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind: CellKind = kind
        self.layers, self.width = layers, width
        self.directions = 2 if bidirectional else 1
        self.fused = FUSED[kind](
            inputs,
            width,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.reset_parameters()

    @property
    def outputs(self) -> int:
        """Width of what `forward` gives at each token."""
        return self.width * self.directions

    def reset_parameters(self) -> None:
        """Glorot-uniform inputs, orthogonal recurrence (Saxe et al. 2014), zero biases; the LSTM's
        forget gate starts open (Jozefowicz et al. 2015).
        """
        for name, parameter in self.fused.named_parameters():
            if name.startswith("weight_ih"):
                for gate in parameter.detach().split(self.width):
                    nn.init.xavier_uniform_(gate)
            elif name.startswith("weight_hh"):
                for gate in parameter.detach().split(self.width):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
                if self.kind == "lstm" and name.startswith("bias_ih"):
                    nn.init.ones_(parameter.detach()[self.width : 2 * self.width])

    def start(self, rows: int, like: Tensor) -> Carried:
        """Zeros, for `rows` sequences."""
        zeros = like.new_zeros(self.layers * self.directions, rows, self.width)
        return Carried(zeros, zeros.clone() if self.kind == "lstm" else None)

    def forward(
        self,
        inputs: Float[Tensor, "batch length inputs"],
        valid: Bool[Tensor, "batch length"] | None = None,
        carried: Carried | None = None,
    ) -> tuple[Float[Tensor, "batch length outputs"], Carried]:
        """Outputs of the last layer at every token (zeros at padding), and what is carried on.

        `valid` is False at padding, which is last; each row has a token.
        """
        carried = carried or self.start(len(inputs), inputs)
        if is_tracing():
            return self._explicit(inputs, valid, carried)
        first = carried.hidden if carried.cell is None else (carried.hidden, carried.cell)
        if valid is None or bool(valid.all()):
            outputs, last = self.fused(inputs, first)
        else:
            packed = pack_padded_sequence(
                inputs, valid.sum(1).cpu(), batch_first=True, enforce_sorted=False
            )
            packed, last = self.fused(packed, first)
            outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])
        return outputs, Carried(*last) if self.kind == "lstm" else Carried(last)

    def _explicit(
        self, inputs: Tensor, valid: Tensor | None, carried: Carried
    ) -> tuple[Tensor, Carried]:
        if valid is None:
            valid = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        hiddens, cells = [], []
        for layer in range(self.layers):
            sides = []
            for direction in range(self.directions):
                number = layer * self.directions + direction
                name = f"{layer}.{'backward' if direction else 'forward'}"
                with scope(name):
                    side, hidden, cell = self._run(
                        inputs,
                        valid,
                        f"l{layer}" + "_reverse" * direction,
                        carried.hidden[number],
                        None if carried.cell is None else carried.cell[number],
                    )
                sides.append(side)
                hiddens.append(hidden)
                cells.append(cell)
            inputs = torch.cat(sides, -1)
            if layer + 1 < self.layers and self.training and self.fused.dropout:
                inputs = nn.functional.dropout(inputs, self.fused.dropout)
        if self.kind != "lstm":
            return inputs, Carried(torch.stack(hiddens))
        return inputs, Carried(
            torch.stack(hiddens), torch.stack([cell for cell in cells if cell is not None])
        )

    def _run(
        self, inputs: Tensor, valid: Tensor, suffix: str, hidden: Tensor, cell: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One layer in one direction; padding passes the state on unchanged."""
        parameters = dict(self.fused.named_parameters())
        weight, recurrent = parameters[f"weight_ih_{suffix}"], parameters[f"weight_hh_{suffix}"]
        bias, recurrent_bias = parameters[f"bias_ih_{suffix}"], parameters[f"bias_hh_{suffix}"]
        read = inputs @ weight.t() + bias
        length = inputs.shape[1]
        places = reversed(range(length)) if suffix.endswith("_reverse") else range(length)
        outputs = [torch.empty(0)] * length
        gates: list[dict[str, Tensor]] = [{}] * length
        for place in places:
            remembered = hidden @ recurrent.t() + recurrent_bias
            new, new_cell, gates[place] = CELLS[self.kind](read[:, place], remembered, hidden, cell)
            now = valid[:, place, None]
            hidden = torch.where(now, new, hidden)
            if cell is not None and new_cell is not None:
                cell = torch.where(now, new_cell, cell)
            outputs[place] = torch.where(now, new, torch.zeros_like(new))
        for name in gates[0]:
            record(name, torch.stack([each[name] for each in gates], 1))
        stacked = torch.stack(outputs, 1)
        record("hidden", stacked)
        return stacked, hidden, cell


Step = tuple[Tensor, Tensor | None, dict[str, Tensor]]


def rnn_cell(read: Tensor, remembered: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    """h' = tanh(W x + b + U h + c)."""
    return torch.tanh(read + remembered), None, {}


def gru_cell(read: Tensor, remembered: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    """h' = (1 − z)·n + z·h with gates r, z and the candidate n = tanh(W x + b + r·(U h + c))."""
    (read_reset, read_update, read_new) = read.chunk(3, -1)
    (reset, update, new) = remembered.chunk(3, -1)
    reset = torch.sigmoid(read_reset + reset)
    update = torch.sigmoid(read_update + update)
    candidate = torch.tanh(read_new + reset * new)
    gates = {"reset": reset, "update": update, "candidate": candidate}
    return (1 - update) * candidate + update * hidden, None, gates


def lstm_cell(read: Tensor, remembered: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    """c' = f·c + i·g and h' = o·tanh(c') with gates i, f, o and the candidate g."""
    assert cell is not None, "an LSTM has a cell"
    add, forget, candidate, show = (read + remembered).chunk(4, -1)
    add, forget, show = torch.sigmoid(add), torch.sigmoid(forget), torch.sigmoid(show)
    candidate = torch.tanh(candidate)
    cell = forget * cell + add * candidate
    gates = {"input": add, "forget": forget, "output": show, "candidate": candidate, "cell": cell}
    return show * torch.tanh(cell), cell, gates


CELLS = {"rnn": rnn_cell, "gru": gru_cell, "lstm": lstm_cell}
