"""What strangers send as pictures."""

from __future__ import annotations

import hashlib

import pytest
from PIL import Image

from diffuserve.core.errors import UnreadablePicture
from diffuserve.media.decode import read_picture
from support.pictures import HTML, SVG, bomb, encoded, opened, picture, quarters

pytestmark = pytest.mark.unit

LIMIT = 1_000_000


def read(data: bytes, **options: int) -> Image.Image:
    return opened(read_picture(data, "init_image", options.pop("max_pixels", LIMIT), **options).data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_format_comes_out_as_an_rgb_png(kind: str) -> None:
    image = read(picture(kind=kind))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (8, 6))
    assert all(abs(got - sent) < 12 for got, sent in zip(image.getpixel((3, 3)), (200, 30, 40), strict=True))


@pytest.mark.parametrize(
    ("mode", "colour", "kind"),
    [
        ("1", 1, "PNG"),
        ("L", 255, "PNG"),
        ("LA", (255, 255), "PNG"),
        ("P", 0, "PNG"),
        ("I;16", 65535, "PNG"),
        ("CMYK", (0, 0, 0, 0), "JPEG"),
        ("RGBA", (255, 255, 255, 255), "WEBP"),
    ],
)
def test_odd_modes_become_rgb(mode: str, colour: object, kind: str) -> None:
    sent = Image.new(mode, (5, 5), colour)  # type: ignore[arg-type]
    if mode == "P":
        sent.putpalette([255, 255, 255])
    image = read(encoded(sent, kind))
    assert image.mode == "RGB"
    assert min(image.getpixel((2, 2))) > 250


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    assert read(encoded(Image.new("I;16", (4, 4), 32768))).getpixel((1, 1)) == (128, 128, 128)


def test_transparency_goes_over_white() -> None:
    assert read(picture(mode="RGBA", colour=(255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert read(picture(mode="RGBA", colour=(255, 0, 0, 128))).getpixel((0, 0)) == (255, 127, 127)


def test_a_transparent_palette_colour_goes_over_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    assert read(encoded(image, "GIF", transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_with_exif_orientation_is_turned_upright(orientation: int) -> None:
    turns = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turn = turns[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read(encoded(stored, "PNG", exif=exif))
    assert image.size == (32, 16)
    assert image.getpixel((2, 2)) == (255, 0, 0)
    assert image.getpixel((30, 2)) == (0, 255, 0)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert read(data).getpixel((3, 3)) == (255, 0, 0), kind


def test_metadata_is_left_behind() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    data = encoded(quarters(), "JPEG", exif=exif, comment=b"secret", icc_profile=b"profile")
    image = read_picture(data, "init_image", LIMIT)
    assert opened(image.data).info == {}
    assert b"where I live" not in image.data


def test_the_digest_names_the_png_and_the_size_is_its_own() -> None:
    image = read_picture(picture(9, 4), "init_image", LIMIT)
    assert image.digest == hashlib.sha256(image.data).hexdigest()
    assert (image.width, image.height) == (9, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_longer_side_than_asked_for_is_scaled_down_in_shape(kind: str) -> None:
    assert read(encoded(quarters(400, 200), kind), max_side=100).size == (100, 50)
    assert read(encoded(quarters(64, 32), kind), max_side=100).size == (64, 32)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0", SVG, HTML, b"\x00" * 1000])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="init_image is not a picture"):
        read(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(noise, kind)
    with pytest.raises(UnreadablePicture):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("size", [(1001, 1000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_the_size_that_it_declares(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadablePicture, match="init_image is too large"):
        read(bomb(*size))


def test_a_jpeg_of_endless_passes_is_refused() -> None:
    data = encoded(quarters(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    end = data.rindex(b"\xff\xd9")
    assert read(data).size == (64, 64)
    with pytest.raises(UnreadablePicture, match="passes"):
        read(data[:end] + data[last:end] * 200 + data[end:])


def test_formats_that_run_more_than_a_decoder_are_refused() -> None:
    for kind in ("TIFF", "ICO", "PDF", "EPS"):
        with pytest.raises(UnreadablePicture):
            read(picture(32, 32, kind=kind))


def test_a_text_chunk_that_inflates_without_end_is_refused() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("bomb", "x" * 2**21, zip=True)
    with pytest.raises(UnreadablePicture):
        read(encoded(quarters(), "PNG", pnginfo=info))
