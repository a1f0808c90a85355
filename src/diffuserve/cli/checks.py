"""What `diffuserve doctor` looks at. Each check is a function that returns what it found and never raises."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from diffuserve import __version__
from diffuserve.checkpoints.collect import Entry, collect
from diffuserve.checkpoints.steering import look_at_adapter, look_at_controlnet, look_at_lora
from diffuserve.config import Settings, load
from diffuserve.core.errors import ConfigurationError, DiffuserveError
from diffuserve.core.model import ModelInfo, Steering
from diffuserve.engine.spawn import find_allocator

GIB = 2**30
_NEEDED = (3, 11)
_CORE = ("fastapi", "uvicorn", "sqlalchemy", "pillow", "obstore")
_DIFFUSION = ("torch", "diffusers", "transformers", "safetensors")


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, but slower or with less than it could."""
    FAIL = "fail"
    """The server will not do its work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    level: Level
    found: str
    mend: str = ""
    """What to do about it."""


def examine(config: Path | None, data_dir: Path | None, model: str | None) -> list[Finding]:
    """Every finding, in the order in which things are needed."""
    findings = [python_version(sys.version_info[:3]), Finding("diffuserve", Level.OK, __version__), *packages()]
    findings += [*torch_and_devices(_import_torch), allocator(find_allocator()), memory(_meminfo())]
    try:
        settings = load(config, data_dir=data_dir, model=model)
    except ConfigurationError as error:
        return [*findings, Finding("settings", Level.FAIL, error.message, "correct the setting")]
    return [*findings, data_folder(settings.data_dir), disk(settings.data_dir), *models(settings), *prompts(settings)]


def python_version(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] < _NEEDED:
        return Finding("python", Level.FAIL, text, "install Python 3.11 or newer")
    return Finding("python", Level.OK, f"{text} at {sys.executable}")


def packages(version_of: Callable[[str], str] = importlib.metadata.version) -> Iterator[Finding]:
    """Installed versions against the pins of our own metadata."""
    pins = _pins()
    for names, mend in ((_CORE, "pip install diffuserve"), (_DIFFUSION, "pip install 'diffuserve[diffusion]'")):
        for name in names:
            try:
                version = version_of(name)
            except importlib.metadata.PackageNotFoundError:
                yield Finding(name, Level.FAIL, "not installed", mend)
                continue
            pin = pins.get(name)
            # A build tag such as +cpu or +cu128 is the same release.
            if pin is not None and version.partition("+")[0] != pin:
                yield Finding(name, Level.WARN, version, f"diffuserve is tested with {pin}: {mend}")
            else:
                yield Finding(name, Level.OK, version)


def torch_and_devices(import_torch: Callable[[], Any]) -> Iterator[Finding]:
    """What torch can run on, and in which number formats."""
    try:
        torch = import_torch()
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        mend = "pip install 'diffuserve[diffusion]', or use --engine fake"
        yield Finding("device", Level.FAIL, f"torch cannot be imported: {error}", mend)
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name, total = torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory
            bf16 = "bfloat16" if torch.cuda.is_bf16_supported() else "float16 only"
            yield Finding("device", Level.OK, f"cuda:{index} {name}, {total / GIB:.0f} GiB, {bf16}")
        return
    if torch.backends.mps.is_available():
        yield Finding("device", Level.OK, "mps (Apple GPU)")
        return
    yield Finding("device", Level.OK, f"cpu, {torch.get_num_threads()} threads")
    flags = _cpu_flags()
    if {"amx_bf16", "avx512_bf16"} & flags:
        yield Finding("bfloat16", Level.OK, "in hardware")
    else:
        mend = "pictures are drawn in float32 at its speed; a GPU or a newer processor is faster"
        yield Finding("bfloat16", Level.WARN, "this processor has no fast bfloat16", mend)


def allocator(found: Path | None) -> Finding:
    if found is None:
        mend = "apt install libtcmalloc-minimal4: drawing on the processor is then up to a sixth faster"
        return Finding("tcmalloc", Level.WARN, "not found", mend)
    return Finding("tcmalloc", Level.OK, str(found))


def memory(available: int | None) -> Finding:
    """`available` in bytes; None where the system does not say."""
    if available is None:
        return Finding("memory", Level.OK, "unknown on this system")
    text = f"{available / GIB:.1f} GiB free"
    if available < 2 * GIB:
        return Finding("memory", Level.WARN, text, "the embedded model needs 2 GiB, SD 1.5 some 6, SDXL some 14")
    return Finding("memory", Level.OK, text)


def data_folder(folder: Path) -> Finding:
    """Whether the folder, or the one it would be made in, takes files."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Finding("data", Level.OK, f"{folder.absolute()} can be written")
    except OSError as error:
        mend = "choose another with --data-dir, or give this user the right to write there"
        return Finding("data", Level.FAIL, f"{existing} cannot be written: {error.strerror or error}", mend)


def disk(folder: Path) -> Finding:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / GIB:.1f} GiB free"
    if free < GIB // 4:
        return Finding("disk", Level.FAIL, text, f"make room under {existing}, or choose another --data-dir")
    if free < 2 * GIB:
        return Finding("disk", Level.WARN, text, f"pictures add up: make room under {existing}")
    return Finding("disk", Level.OK, text)


def prompts(settings: Settings) -> Iterator[Finding]:
    """Whoever translates and enhances prompts, where anybody does. The chat endpoint is not called."""
    from diffuserve.wiring import prompt_help

    who = {"chat": f"{settings.chat_model} at {settings.chat_base_url}"}
    try:
        prompt_help(settings)
    except ConfigurationError as error:
        yield Finding("prompts", Level.FAIL, error.message, "correct the setting, or switch it off")
        return
    for task in ("translation", "enhancement"):
        if (helper := getattr(settings, task)) != "off":
            yield Finding(task, Level.OK, who.get(helper) or str(getattr(settings, f"{task}_model")))


def models(settings: Settings) -> Iterator[Finding]:
    """The default model, every listed one and all that steers them, each on its own, so that one that is wrong does not
    hide the others."""
    from diffuserve import listing

    listed = listing.models_of(settings)
    answering = {name.lower() for entry in listed for name in (entry.name, *entry.overrides.aliases)}
    wanted: list[tuple[Sequence[Entry], str]] = [((entry,), entry.name) for entry in listed]
    if settings.model.lower() not in answering:
        wanted.insert(0, ((), settings.model))
    found: dict[str, ModelInfo] = {}
    for entries, name in wanted:
        try:
            infos, default = collect(entries, name)
        except DiffuserveError as error:
            yield Finding("model", Level.FAIL, error.message, f"correct model {name} in the settings, or its files")
            continue
        found.update((info.name, info) for info in infos)
        yield Finding("model", Level.OK, _described(found[default]))
    yield from _steering(settings, tuple(found.values()))


def _steering(settings: Settings, models: Sequence[ModelInfo]) -> Iterator[Finding]:
    from diffuserve import listing

    looks: list[tuple[str, str, Callable[[], Steering]]] = [
        *(("lora", one.name, partial(look_at_lora, one, models)) for one in listing.loras_of(settings)),
        *(
            ("controlnet", one.name, partial(look_at_controlnet, one, models))
            for one in listing.controlnets_of(settings)
        ),
        *(("adapter", one.name, partial(look_at_adapter, one, models)) for one in listing.adapters_of(settings)),
    ]
    for what, name, look in looks:
        try:
            info = look()
        except DiffuserveError as error:
            yield Finding(what, Level.FAIL, error.message, f"correct {what} {name} in the settings, or its files")
            continue
        fits = [model.name for model in models if info.fits(model)]
        found = f"{info.name} ({info.family.value}) at {info.path}"
        if fits:
            yield Finding(what, Level.OK, f"{found}, for {', '.join(fits)}")
        else:
            width = f" whose text is {info.context_width} wide" if info.context_width else ""
            mend = f"list a model of its family{width}, or name those that it fits: models = [...]"
            yield Finding(what, Level.WARN, f"{found} fits no model of this server", mend)


def _described(info: ModelInfo) -> str:
    return f"{info.name} ({info.family.value}, {info.size} pixels) at {info.path}"


def _import_torch() -> Any:
    import torch

    return torch


def _pins() -> dict[str, str]:
    try:
        requirements = importlib.metadata.requires("diffuserve") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    matches = (re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([0-9][^; ]*)", line) for line in requirements)
    return {match[1].lower(): match[2] for match in matches if match}


def _meminfo() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        kilobytes = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        return int(kilobytes[1]) * 1024 if kilobytes else None
    except OSError:
        pages = os.sysconf_names.get("SC_AVPHYS_PAGES")
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") if pages is not None else None


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return set(flags[1].split()) if flags else set()
