"""Every reduced MLP learns alone, block by block, what is heard of the original one: in minutes.

The closed form that leaves hidden units out refits the second layer alone, to what the first one
gave before anything else was reduced. Here both layers learn, where they are, and half of what the
blocks before them have lost as well.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.encoders import MlpSite
from liteasr.progress import Track
from liteasr.refinement.config import RefinementConfig
from liteasr.refinement.schedule import share_of_peak
from liteasr.refinement.streams import Mlp, Seen, Streams, Vectors

__all__ = ["fit_mlp", "fitted_in_turn"]

BATCH = 2048
AUDIO_SHARE = 0.75  # of a batch; the rest is padding
PADDING_WEIGHT = 0.25  # of its relative error
LEARNING_RATE = 8e-4  # at most
FAR = 100.0  # what the error of a start is divided by: a close one is soon made worse
WARM_UP = 0.1  # of the steps
SPREAD = 0.5  # of the difference of two other vectors, the most that is added to one
FEW = 16_384  # vectors that need it all; of more the share is less


def fitted_in_turn(
    streams: Streams,
    sites: Sequence[MlpSite],
    metrics: Mapping[str, Tensor],
    known: Container[str],
    config: RefinementConfig,
    track: Track,
) -> Iterator[tuple[MlpSite, dict[str, Tensor]]]:
    """Each MLP with its new weights, which must be in place before the next one is asked for.

    Args:
        streams: Before the first block.
        sites: The MLPs.
        metrics: What errors of their outputs count, by name of the second layer.
        known: Names of the first layers of those that have their weights already.
        config: How many updates, and the seed.
        track: Shows progress.
    """
    blocks = streams.adapter.blocks(streams.teacher)
    for block in track(blocks, description="MLPs alone", total=len(blocks)):
        for site in sites:
            if site.first.startswith(f"{block}.") and site.first not in known:
                mine, theirs = Mlp(streams.student, site), Mlp(streams.teacher, site)
                fitted = fit_mlp(
                    mine,
                    theirs,
                    streams.see(site),
                    metrics[site.second],
                    steps=config.mlp_steps,
                    seed=config.seed,
                )
                yield site, fitted
        streams.advance_()


def fit_mlp(
    student: Mlp,
    teacher: Mlp,
    seen: Seen,
    metric: Float[Tensor, "out out"],
    *,
    steps: int,
    seed: int,
) -> dict[str, Tensor]:
    """Weights with which a reduced MLP gives what the original one gives; neither is changed.

        loss = E‖G^½(f̂(x) - f(x) - c)‖² / Var(G^½(f(x) + c)), at audio, and a quarter of the same
               at padding

    with c what the stream lacks there (`Streams`), and G what errors there do to the text
    (`metrics_of`): an MLP too small for all of f keeps what is heard of it. AdamW with a cosine on
    random batches of single vectors, of all windows in every batch. To x at audio a random share of
    the difference of two others is added, the less the more there are: what the original does there
    is known as well, and few minutes of speech are not learned by heart.

    Args:
        student: The reduced MLP, which the training starts from.
        teacher: The original one.
        seen: What enters it.
        metric: G^½.
        steps: Updates.
        seed: Chooses batches.
    """
    student = copy.deepcopy(student)
    generator = torch.Generator().manual_seed(seed)
    count = round(AUDIO_SHARE * BATCH)
    audio = _Drawn(seen.audio, count, _spread_of(len(seen.audio.entering)), generator)
    padding = _Drawn(seen.padding, BATCH - count, 0.0, generator)
    kinds = [(w, k) for w, k in ((1.0, audio), (PADDING_WEIGHT, padding)) if len(k)]
    energies = [(kind.draw(teacher)[1] @ metric).var(dim=0).sum() for _, kind in kinds]

    def loss() -> Tensor:
        errors = []
        for (weight, kind), energy in zip(kinds, energies, strict=True):
            x, y = kind.draw(teacher)
            wrong = (student(x) - y) @ metric
            errors.append(weight * wrong.square().sum(dim=1).mean() / energy)
        return torch.stack(errors).sum()

    with torch.no_grad():
        peak = min(LEARNING_RATE, float(loss()) / FAR)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=0.0
    )
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, partial(share_of_peak, steps=steps, warm_up=WARM_UP)
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
    return {name: weight.detach() for name, weight in student.state_dict().items()}


@final
class _Drawn:
    """Random batches of some vectors, and what a reduced MLP should make of them."""

    def __init__(
        self, vectors: Vectors, count: int, spread: float, generator: torch.Generator
    ) -> None:
        self.vectors, self.count, self.spread = vectors, count, spread
        self.generator = generator

    def __len__(self) -> int:
        return len(self.vectors.entering)

    @torch.no_grad()
    def draw(self, teacher: Mlp) -> tuple[Tensor, Tensor]:
        which = self._places()
        x, lacking = (part[which] for part in self.vectors)
        if self.spread:
            share = self.spread * torch.rand(self.count, 1, generator=self.generator)
            some, others = (self.vectors.entering[self._places()] for _ in range(2))
            x = x + share.to(x) * (some - others)
        return x, teacher(x) + lacking

    def _places(self) -> Tensor:
        places = torch.randint(len(self), (self.count,), generator=self.generator)
        return places.to(self.vectors.entering.device)


def _spread_of(vectors: int) -> float:
    """The more there are, the more they say themselves of what lies between them."""
    return SPREAD * min(1.0, FEW / max(1, vectors))
