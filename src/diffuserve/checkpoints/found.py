"""What `folder.py` and `single.py` find out about a checkpoint, for `inspect.py` to complete."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffuserve.checkpoints.card import Overrides
from diffuserve.core.model import Family


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint's own facts."""

    family: Family
    size: int
    """The side that it was trained at, pixels."""
    multiple: int
    """The VAE's factor."""
    sampler: str
    """A sampler id: the checkpoint's own."""
    card: Overrides = field(default_factory=Overrides)
    inpainting: bool = False
    """The UNet takes a mask and the masked picture, too."""
    context_width: int = 0
    """Width of the text embeddings that its cross-attention reads; 0 where it is not known."""
