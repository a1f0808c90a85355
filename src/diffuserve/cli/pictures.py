"""Pictures as files of the command line: their names, their formats, and all or nothing."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from diffuserve.core.errors import ConfigurationError

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_QUALITY = 92


def output_paths(output: Path, count: int) -> list[Path]:
    """Where `count` pictures go: `output` itself, or name-1, name-2 beside it. Raises ConfigurationError."""
    if output.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"-o must end in {', '.join(FORMATS)}, got {output}")
    if not output.parent.is_dir():
        raise ConfigurationError(f"there is no folder {output.parent} to write to")
    if output.is_dir():
        raise ConfigurationError(f"{output} is a folder: name a file in it")
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def convert(png: bytes, suffix: str) -> bytes:
    """`png` in the format of `suffix`."""
    wanted = FORMATS[suffix.lower()]
    if wanted == "PNG":
        return png
    out = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.save(out, wanted, quality=_QUALITY)
    return out.getvalue()


def write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write every file beside its place first, then move all there. Raises ConfigurationError, and leaves nothing
    then."""
    waiting: list[tuple[Path, Path]] = []
    try:
        for path, data in files:
            beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            waiting.append((beside, path))
            beside.write_bytes(data)
        for beside, path in waiting:
            beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write to {error.filename}: {error.strerror or error}") from None
    finally:
        for beside, _ in waiting:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
