"""Pictures as files of the command line: their names, their formats, and all or nothing."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.request import PictureFormat

FORMATS = {
    ".png": PictureFormat.PNG,
    ".jpg": PictureFormat.JPEG,
    ".jpeg": PictureFormat.JPEG,
    ".webp": PictureFormat.WEBP,
}


def output_paths(output: Path, count: int, form: PictureFormat | None = None) -> tuple[list[Path], PictureFormat]:
    """Where `count` pictures go: `output` itself, or name-1, name-2 beside it; and their format: `form`, or else as the
    name says.

    Raises ConfigurationError, also where the name says something else.
    """
    said = FORMATS.get(output.suffix.lower())
    if form is None and said is None:
        raise ConfigurationError(f"-o must end in {', '.join(FORMATS)}, got {output}")
    if form is not None and said not in (None, form):
        raise ConfigurationError(f"--format {form.value} contradicts the name {output.name}")
    chosen = form or said or PictureFormat.PNG
    if not output.parent.is_dir():
        raise ConfigurationError(f"there is no folder {output.parent} to write to")
    if output.is_dir():
        raise ConfigurationError(f"{output} is a folder: name a file in it")
    if count == 1:
        return [output], chosen
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)], chosen


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
