"""What enters the MLPs of a reduced encoder, and what their outputs should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders import (
    EncoderAdapter,
    EncoderInput,
    MlpSite,
    audio_positions,
    on_encoder,
    pooled_like,
)

__all__ = ["WINDOWS", "Mlp", "Seen", "Streams", "Vectors", "reduced_mlps"]

WINDOWS = 160  # at most
VECTORS = 65_536  # of audio that enter each MLP, of all windows together; of padding as many
MADE_GOOD = 0.5  # of what the stream lacks; all of it is learned by heart


class Vectors(NamedTuple):
    """What enters an MLP, [n, in], and what its output should have beside the original's, [n, out].

    The second is not known but for these very vectors, the original's output is for any.
    """

    entering: Tensor
    lacking: Tensor


class Seen(NamedTuple):
    """Vectors of some windows."""

    audio: Vectors
    padding: Vectors


@final
class Mlp(nn.Module):
    """y = second(f(first(x))): the layers of a site, where they are.

    Args:
        encoder: Which has them.
        site: Which they are.
    """

    def __init__(self, encoder: nn.Module, site: MlpSite) -> None:
        super().__init__()
        names = (site.first, site.activation, site.second)
        self.first, self.activation, self.second = map(encoder.get_submodule, names)

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """The output for each vector."""
        output: Tensor = self.second(self.activation(self.first(x)))
        return output


def reduced_mlps(
    adapter: EncoderAdapter, student: nn.Module, teacher: nn.Module
) -> tuple[MlpSite, ...]:
    """The MLPs that have fewer parameters than those of the original, in running order."""

    def size(encoder: nn.Module, site: MlpSite) -> int:
        return sum(parameter.numel() for parameter in Mlp(encoder, site).parameters())

    sites = adapter.mlps(teacher)
    return tuple(site for site in sites if size(student, site) < size(teacher, site))


@final
class Streams:
    """What enters a block of the reduced and of the original encoder, window by window.

    It goes through both one block at a time. There are `WINDOWS` at most, so that memory does not
    grow with the audio.

    Args:
        adapter: Of both encoders.
        student: The reduced one.
        teacher: The original one.
        windows: Of audio.
    """

    def __init__(
        self,
        adapter: EncoderAdapter,
        student: nn.Module,
        teacher: nn.Module,
        windows: Iterable[EncoderInput],
    ) -> None:
        self.adapter, self.student, self.teacher = adapter, student, teacher
        self.block = 0
        self.mine: list[Tensor] = []
        self.theirs: list[Tensor] = []
        self.valid: list[int] = []
        self._after: list[Tensor] = []  # what theirs become in this block, once it is known
        for window in windows:
            self.valid.append(window.valid_positions)
            self.mine.append(self._embedded(student, window))
            self.theirs.append(self._embedded(teacher, window))

    @torch.no_grad()
    def see(self, site: MlpSite) -> Seen:
        """What enters an MLP of this block in the reduced encoder: `VECTORS` of a kind at most."""
        of_audio = sum(self.valid)
        of_padding = sum(len(hidden[0]) for hidden in self.theirs) - of_audio
        audio_share, padding_share = _share(of_audio), _share(of_padding)
        student, original = Mlp(self.student, site), Mlp(self.teacher, site)
        kinds: tuple[list[Vectors], list[Vectors]] = ([], [])
        after = self._theirs_after() if site.ends_block else self.theirs
        for valid, mine, theirs in zip(self.valid, self.mine, after, strict=True):
            x, y, reached = self._passing(student, mine)
            wanted = y + pooled_like(theirs, reached) - reached if site.ends_block else None
            first = audio_positions(valid, x.shape[1], theirs.shape[1])
            of_kinds = (
                _evenly(0, first, audio_share),
                _evenly(first, x.shape[1], padding_share),
            )
            for kind, places in zip(kinds, of_kinds, strict=True):
                some, lacking = x[0, places].clone(), torch.zeros_like(y[0, places])
                if wanted is not None:
                    lacking = MADE_GOOD * (wanted[0, places] - original(some))
                kind.append(Vectors(some, lacking))
        audio, padding = (Vectors(*map(torch.cat, zip(*k, strict=True))) for k in kinds)
        return Seen(audio, padding)

    def _passing(self, student: Mlp, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What enters an MLP of this block, what leaves it, and what the block puts out."""
        found: list[Tensor] = []
        with (
            student.first.register_forward_pre_hook(lambda _, x: found.append(x[0])),
            student.second.register_forward_hook(lambda _, x, y: found.append(y)),
        ):
            reached = self._through(self.student, hidden)
        x, y = found
        return x, y, reached

    @torch.no_grad()
    def advance_(self) -> None:
        """Go through this block."""
        self.mine = [self._through(self.student, hidden) for hidden in self.mine]
        self.theirs, self._after = self._theirs_after(), []
        self.block += 1

    def _theirs_after(self) -> list[Tensor]:
        self._after = self._after or [self._through(self.teacher, one) for one in self.theirs]
        return self._after

    @torch.no_grad()
    def _embedded(self, encoder: nn.Module, window: EncoderInput) -> Tensor:
        return self.adapter.embed(encoder, on_encoder(encoder, window))

    def _through(self, encoder: nn.Module, hidden: Tensor) -> Tensor:
        """What this block makes of what enters it; the blocks behind it do not run."""

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            raise _Left(output[0] if isinstance(output, tuple) else output)

        block = encoder.get_submodule(self.adapter.blocks(encoder)[self.block])
        with block.register_forward_hook(leave):
            try:
                self.adapter.run_from(encoder, self.block, hidden)
            except _Left as left:
                return left.output
        raise AssertionError("a block that does not run")


def _share(count: int) -> float:
    """The share of so many vectors that is kept."""
    return min(1.0, VECTORS / max(1, count))


def _evenly(first: int, behind: int, share: float) -> Tensor:
    """That share of the places from one to another, evenly."""
    return first + (torch.arange(int(share * (behind - first))) / share).long()


class _Left(Exception):  # noqa: N818 - nothing went wrong
    """A block has put out something."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
