"""The LoRAs of one loaded model: any number of them, with weights of each row's own in one shared forward.

Nothing is merged into the model's weights. For the time of one forward, hooks on the modules that LoRAs change add

    y[rows] += weight * scale * up(down(x[rows]))

to the rows that asked for it (LoRA, arXiv:2106.09685). So the mix may change between two steps at no cost, different mixes
share a batch, and a row without LoRA is what it is in the bare model, bit for bit: nothing is even added to it.
`lora_files.py` reads the files, `lora_names.py` knows the places, `lora_pairs.py` does the arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import GenerationFailed
from diffuserve.core.model import Family, LoraInfo
from diffuserve.core.request import Lora
from diffuserve.engine.diffusion import lora_files
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.lora_files import Factors, Unusable
from diffuserve.engine.diffusion.lora_names import ENCODERS, UNET, part_of, text_spellings, unet_spellings
from diffuserve.engine.diffusion.lora_pairs import Pair, fitted, targets

Mix = tuple[Lora, ...]
"""LoRAs that act together. Each was `read`; their order does not matter; one with weight 0 is as if it were not there."""

_Pairs = Mapping[Any, Pair]
"""By the module that is changed."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows next to each other, from `begin` to before `end`, that one LoRA changes with one weight."""

    begin: int
    end: int
    lora: Lora


class Loras:
    def __init__(
        self, unet: Any, encoders: Sequence[Any], family: Family, device: Device, *, exact: bool = False
    ) -> None:
        """`exact` computes every row alone: its bits are then the same whoever else in the batch has the same LoRA."""
        unet = getattr(unet, "_orig_mod", unet)  # what torch.compile wrapped
        self._family, self._device, self._exact = family, device, exact
        modules = targets(unet)
        spellings = unet_spellings(modules, unet.config.layers_per_block)
        self._places = {UNET: {spelling: modules[name] for spelling, name in spellings.items()}}
        for part, encoder in zip(ENCODERS, encoders, strict=False):
            modules = targets(encoder)
            self._places[part] = {spelling: modules[name] for spelling, name in text_spellings(modules).items()}
        self._of_unet: dict[str, _Pairs] = {}
        self._of_text: dict[str, _Pairs] = {}

    def read(self, info: LoraInfo) -> None:
        """Take the LoRA's file into memory, on the device; nothing where that was done before.

        Raises GenerationFailed in one sentence where the file is damaged, of another kind, or not for this model.
        """
        if info.name in self._of_unet:
            return
        try:
            if info.family is not self._family:
                raise Unusable(f"it is made for {info.family} models, and this one is {self._family}")
            text, unet = self._placed(lora_files.read(Path(info.path)))
            # The UNet's last: who finds it there finds both.
            self._of_text[info.name] = text
            self._of_unet[info.name] = unet
        except Unusable as reason:
            raise GenerationFailed(f"LoRA {info.name} cannot be used: {reason}") from None

    def forget(self, name: str) -> None:
        self._of_unet.pop(name, None)
        self._of_text.pop(name, None)

    def clear(self) -> None:
        self._of_unet.clear()
        self._of_text.clear()

    @property
    def nbytes(self) -> int:
        """Bytes that all of them take on the device."""
        parts = (*self._of_unet.values(), *self._of_text.values())
        return sum(pair.nbytes for pairs in parts for pair in pairs.values())

    def take(self, info: LoraInfo) -> HeldLora:
        """`read` it, and hold it until it is closed; others may draw meanwhile."""
        self.read(info)
        return HeldLora(self, info.name)

    def nbytes_of(self, name: str) -> int:
        """Bytes that one of them takes on the device; 0 where it was not read."""
        parts = (self._of_unet.get(name, {}), self._of_text.get(name, {}))
        return sum(pair.nbytes for pairs in parts for pair in pairs.values())

    def unet_rows(self, mixes: Sequence[Mix]) -> AbstractContextManager[None]:
        """For the UNet's forward inside: one mix for each of its rows. Raises GenerationFailed for what was not read."""
        return self._adding(self._of_unet, mixes)

    def text(self, mix: Mix) -> AbstractContextManager[None]:
        """For the encoding of one prompt inside, by all encoders. Raises GenerationFailed for what was not read."""
        return self._adding(self._of_text, [mix])

    def in_text(self, mix: Mix) -> Mix:
        """Those of the mix that change how prompts are encoded. Raises GenerationFailed for what was not read."""
        return tuple(lora for lora in mix if _of(self._of_text, lora))

    @contextmanager
    def _adding(self, read: Mapping[str, _Pairs], mixes: Sequence[Mix]) -> Iterator[None]:
        terms: dict[Any, list[tuple[_Stretch, Pair]]] = {}
        for stretch in _stretches(mixes, alone=self._exact):
            for module, pair in _of(read, stretch.lora).items():
                terms.setdefault(module, []).append((stretch, pair))
        if not terms:
            yield
            return
        hooks: list[Any] = []
        try:
            for module, added in terms.items():
                hooks.append(module.register_forward_hook(partial(_add, len(mixes), added)))
            # A compiled module does not notice hooks that come after it was compiled.
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _placed(self, contents: Mapping[str, Factors]) -> tuple[_Pairs, _Pairs]:
        """What changes the encoders, and what changes the UNet."""
        homeless = [name for name in contents if self._module(name) is None]
        if homeless:
            raise Unusable(
                f"{len(homeless)} of the {len(contents)} places that it changes are not in this model, "
                f"{homeless[0]} for one"
            )
        of_text: dict[Any, Pair] = {}
        of_unet: dict[Any, Pair] = {}
        for name, factors in contents.items():
            pairs = of_unet if part_of(name)[0] == UNET else of_text
            module = self._module(name)
            if module in pairs:
                raise Unusable(f"it changes {name} twice, under two names")
            pairs[module] = fitted(name, factors, module, self._device)
        return of_text, of_unet

    def _module(self, name: str) -> Any:
        part, rest = part_of(name)
        return self._places.get(part, {}).get(rest)


@dataclass(frozen=True, eq=False)
class HeldLora:
    """One LoRA in memory."""

    loras: Loras
    name: str

    @property
    def nbytes(self) -> int:
        return self.loras.nbytes_of(self.name)

    def close(self) -> None:
        self.loras.forget(self.name)


def _of(read: Mapping[str, _Pairs], lora: Lora) -> _Pairs:
    try:
        return read[lora.name]
    except KeyError:
        raise GenerationFailed(f"LoRA {lora.name} is not loaded") from None


def _stretches(mixes: Sequence[Mix], *, alone: bool) -> Iterator[_Stretch]:
    """What is to be added where, in an order that does not depend on who is in the batch; `alone`: row by row."""
    used = {lora for mix in mixes for lora in mix if lora.weight}
    for lora in sorted(used, key=lambda lora: (lora.name, lora.weight)):
        rows = [row for row, mix in enumerate(mixes) if lora in mix]
        # Rows next to each other are equally far from their places in the list.
        for _, neighbours in itertools.groupby(enumerate(rows), key=lambda at: at[1] if alone else at[1] - at[0]):
            stretch = [row for _, row in neighbours]
            yield _Stretch(stretch[0], stretch[-1] + 1, lora)


def _add(
    rows: int, terms: Sequence[tuple[_Stretch, Pair]], module: Any, arguments: tuple[Any, ...], output: torch.Tensor
) -> None:
    """A forward hook: add every term to its rows of `output`."""
    given: torch.Tensor = arguments[0]
    each, rest = divmod(given.shape[0], rows)  # some modules see a row as several, one after the other (frames, chunks)
    if rest:
        raise ValueError(f"a forward of {given.shape[0]} rows was announced with {rows} mixes")
    for stretch, pair in terms:
        chosen = slice(stretch.begin * each, stretch.end * each)
        pair.add(output[chosen], given[chosen], module, stretch.lora.weight)
