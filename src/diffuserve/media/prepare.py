"""From a request with the caller's pictures to one with those that an engine needs. Runs in a thread.

What lies on the init image (its mask, maps of controls) goes through the same `_View`, so it still lies on it on the
canvas; `finish.finish` goes the same way back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from diffuserve.core.request import (
    Canvas,
    Control,
    Fill,
    Inpaint,
    Preprocessor,
    Reference,
    ResolvedRequest,
    Watermark,
)
from diffuserve.media import faces, watermark
from diffuserve.media.filling import spread
from diffuserve.media.masks import crop_box, softened
from diffuserve.media.placing import Region, central, place
from diffuserve.media.prepared import Box, Prepared, Underlay
from diffuserve.media.raster import opened, png, written
from diffuserve.media.vision import Vision

_REFERENCE_SIDE = 1024
"""Pixels: encoders of references see 224 or 336 of them."""

NO_FACE = "no face was found in the reference picture, so it was not used"
EMPTY_MASK = "the mask is empty: nothing was repainted"


@dataclass(frozen=True, slots=True)
class _View:
    """What the canvas shows of a picture that lies on the init image: all of it, or `box` of the result of `size`."""

    canvas: Canvas
    size: tuple[int, int]
    box: Box | None = None

    def of(self, picture: Image.Image) -> Image.Image:
        """`picture`, of any size, at canvas size."""
        return place(picture, self.canvas, self._region(picture))

    def _region(self, picture: Image.Image) -> Region | None:
        if self.box is None:
            return None
        across, down = picture.width / self.size[0], picture.height / self.size[1]
        left, top, right, bottom = self.box
        return left * across, top * down, min(right * across, picture.width), min(bottom * down, picture.height)


def prepare(request: ResolvedRequest, vision: Vision) -> Prepared:
    """`request`, whose pictures have their data, ready for an engine; and what `finish` needs of them later.

    `init_image` is stretched to the canvas (smoothed there where `keep_texture` is false, and filled under the mask
    where `Fill.FILL` says so), `inpaint.mask` alike (mode L). Each control's image is the map itself at canvas size.
    `reference.image` is the face where only that counts; the reference is dropped, with a note, where there is none.
    """
    notes = _watermark_notes(request.watermark)
    size = (request.width, request.height)
    view, underlay = _View(request.canvas, size), None
    source = None if request.init_image is None else opened(request.init_image)
    mask, inpaint = None, request.inpaint
    if source is not None and inpaint is not None:
        mask = opened(inpaint.mask, "L")
        underlay, empty = _underlay(source, mask, inpaint, size)
        notes += (EMPTY_MASK,) if empty else ()
        view = replace(view, box=underlay.box)
        mask = view.of(mask)
        inpaint = replace(inpaint, mask=written(mask))
    fitted = None if source is None else view.of(source)
    reference, found = _reference(request.reference, vision)
    ready = replace(
        request,
        init_image=None if fitted is None else written(_beginning(fitted, mask, request, vision)),
        inpaint=inpaint,
        controls=tuple(_control(control, request, fitted, view, vision) for control in request.controls),
        reference=reference,
    )
    return Prepared(ready, notes + found, underlay)


def _watermark_notes(mark: Watermark | None) -> tuple[str, ...]:
    lacking = "" if mark is None else watermark.missing(mark.text)
    return (f"the watermark's font has no {' '.join(lacking)}: left out",) if lacking else ()


def _underlay(source: Image.Image, mask: Image.Image, inpaint: Inpaint, size: tuple[int, int]) -> tuple[Underlay, bool]:
    """What the drawing is pasted on, and whether the mask is empty."""
    soft = softened(mask, size, inpaint.blur)
    touched = soft.getbbox()
    box = None if inpaint.padding is None or touched is None else crop_box(touched, inpaint.padding, size, size)
    whole = source if source.size == size else source.resize(size, Image.Resampling.LANCZOS)
    return Underlay(png(whole), png(soft), box), touched is None


def _beginning(fitted: Image.Image, mask: Image.Image | None, request: ResolvedRequest, vision: Vision) -> Image.Image:
    if not request.keep_texture:
        fitted = vision.smooth(fitted)
    if mask is not None and request.inpaint is not None and request.inpaint.fill is Fill.FILL:
        fitted = spread(fitted, mask)
    return fitted


def _control(
    control: Control, request: ResolvedRequest, fitted: Image.Image | None, view: _View, vision: Vision
) -> Control:
    """`control` with its map. Without an init image there is nothing that it must lie on, so it is not distorted."""
    if control.image is None or control.image == request.init_image:
        shown = fitted
    elif fitted is not None:
        shown = view.of(opened(control.image))
    else:
        given = opened(control.image)
        crop = (view.canvas.crop_width, view.canvas.crop_height)
        shown = place(given, view.canvas, central(given.size, crop))
    if shown is None:
        return control
    if control.preprocessor is Preprocessor.CANNY:
        shown = vision.edges(shown, control.low_threshold, control.high_threshold)
    return replace(control, image=written(shown))


def _reference(reference: Reference | None, vision: Vision) -> tuple[Reference | None, tuple[str, ...]]:
    if reference is None:
        return None, ()
    picture = opened(reference.image)
    if reference.face:
        face = vision.face(picture)
        if face is None:
            return None, (NO_FACE,)
        picture = faces.cropped(picture, face)
    picture.thumbnail((_REFERENCE_SIDE, _REFERENCE_SIDE), Image.Resampling.LANCZOS)
    return replace(reference, image=written(picture)), ()
