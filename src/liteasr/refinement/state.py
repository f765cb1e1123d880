"""Everything an interrupted refinement needs to go on exactly where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from liteasr.errors import RefinementError
from liteasr.refinement.pieces import Piece, Said
from liteasr.refinement.weights import copies, put_
from liteasr.refinement_report import CurvePoint
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors

__all__ = ["RefinementState"]

FORMAT = "liteasr-refinement"
MOMENTS = ("exp_avg", "exp_avg_sq")
DECAY = 0.98  # of the average: it reaches back some fifty steps


@dataclass(slots=True)
class RefinementState:
    """Step, weights, optimizer, the best weights so far and the curve.

    Attributes:
        step: Steps taken.
        curve: Checks made.
        losses: Losses since the last check.
        average: Of the weights over the last steps, by name: what is checked and kept. The weights
            themselves jump about where updates are large, and get better without showing it.
        best: Averages with the least error so far.
        pieces: What the original says of the audio, recording by recording.
        fitted: MLPs that were fitted alone, by the names of their first layers.
        seconds: Time spent when it was saved.
        torn: Whether weights and numbers are of different steps just now.
    """

    step: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    average: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    fitted: list[str] = field(default_factory=list)
    seconds: float = 0.0
    torn: bool = False

    @classmethod
    def start(cls, encoder: nn.Module) -> RefinementState:
        """Before the first step."""
        return cls(average=copies(encoder), best=copies(encoder))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark the state as torn until the body ends; it stays so when something stops the body."""
        self.torn = True
        yield
        self.torn = False

    @property
    def best_point(self) -> CurvePoint:
        """The check with the least error."""
        return min(self.curve, key=lambda point: point.held_out)

    @property
    def setbacks(self) -> int:
        """How many checks after a step were worse than one before them."""
        held_out = [point.held_out for point in self.curve]
        return sum(
            point.step > 0 and point.held_out > min(held_out[: i + 1])
            for i, point in enumerate(self.curve)
        )

    def summary(self) -> str:
        """Where it stands, for a progress bar."""
        loss = f"loss {self.losses[-1]:.3f}, " if self.losses else ""
        return f"Refining ({loss}held out {self.best_point.held_out:.3f})"

    def average_(self, encoder: nn.Module) -> None:
        """Take the weights after a step into the average; the first steps count for more."""
        newest = 1 - min(DECAY, self.step / (self.step + 9))
        for name, parameter in encoder.named_parameters():
            self.average[name].lerp_(parameter.detach(), newest)

    def check_(self, encoder: nn.Module, held_out: float, kl: float | None) -> None:
        """Note a check of the average, and keep it or go back to the best one."""
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.curve.append(CurvePoint(self.step, loss, held_out, kl))
        self.losses.clear()
        if self.best_point is self.curve[-1]:
            self.best = {name: weight.clone() for name, weight in self.average.items()}
        else:  # steps that brought nothing were too long
            self.average = {name: weight.clone() for name, weight in self.best.items()}
            put_(encoder, self.best)

    def save(
        self,
        path: str | os.PathLike[str],
        encoder: nn.Module,
        optimizer: torch.optim.Optimizer,
        task: dict[str, Any],
    ) -> None:
        """Write it, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        kept = {"best": self.best, "average": self.average}
        tensors = {f"{kind}.{name}": t for kind, all_ in kept.items() for name, t in all_.items()}
        for name, parameter in encoder.named_parameters():
            tensors[f"now.{name}"] = parameter.detach()
            for moment in MOMENTS:
                if moment in optimizer.state.get(parameter, {}):
                    tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
        values = {
            "step": self.step,
            "curve": self.curve,
            "losses": self.losses,
            "pieces": [asdict(piece) for piece in self.pieces],
            "fitted": self.fitted,
            "seconds": self.seconds,
        }
        metadata = {"format": FORMAT, "task": json.dumps(task), "values": json.dumps(values)}
        write_tensors(path, {n: t.contiguous().cpu() for n, t in tensors.items()}, metadata)

    @classmethod
    def resume_(
        cls,
        path: str | os.PathLike[str],
        encoder: nn.Module,
        optimizer: torch.optim.Optimizer,
        task: dict[str, Any],
    ) -> RefinementState:
        """Read it, and put weights and optimizer back.

        Raises:
            RefinementError: It belongs to another model, corpus or choice of settings, or is
                damaged.
            IntegrityError: The file is truncated.
        """
        try:
            return cls._resumed_(Path(path), encoder, optimizer, task)
        except (KeyError, TypeError, ValueError) as error:
            raise RefinementError(
                f"{path} is damaged ({error}): delete it to start anew"
            ) from error

    @classmethod
    def _resumed_(
        cls,
        path: Path,
        encoder: nn.Module,
        optimizer: torch.optim.Optimizer,
        task: dict[str, Any],
    ) -> RefinementState:
        metadata = read_metadata(path)
        if metadata.get("format") != FORMAT:
            raise RefinementError(f"{path} does not hold a refinement: choose another name")
        found = json.loads(metadata["task"])
        if different := sorted(k for k in task if found.get(k) != json.loads(json.dumps(task[k]))):
            raise RefinementError(
                f"{path} belongs to a refinement with another {', '.join(different)}: "
                "delete it to start anew"
            )
        values, tensors = json.loads(metadata["values"]), read_tensors(path)
        state = cls(
            step=values["step"],
            curve=[CurvePoint(*point) for point in values["curve"]],
            losses=values["losses"],
            pieces=[_piece(**piece) for piece in values["pieces"]],
            fitted=values["fitted"],
            average=_of(encoder, tensors, "average"),
            best=_of(encoder, tensors, "best"),
            seconds=values["seconds"],
        )
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                parameter.copy_(tensors[f"now.{name}"])
                if f"{MOMENTS[0]}.{name}" in tensors:
                    moments = {m: tensors[f"{m}.{name}"].to(parameter.device) for m in MOMENTS}
                    steps = torch.tensor(float(state.step))
                    optimizer.state[parameter] = {"step": steps, **moments}
        return state


def _piece(said: Any, **place: int) -> Piece:
    known = None if said is None else Said(*(tuple(tokens) for tokens in said))
    return Piece(said=known, **place)


def _of(encoder: nn.Module, tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {
        name: tensors[f"{kind}.{name}"].to(parameter.device)
        for name, parameter in encoder.named_parameters()
    }
