"""Every setting, typed and documented: from flags, `DIFFUSERVE_*` variables and `diffuserve.toml`, in this order.

`Settings` is read once, by the command line, and taken apart by `wiring`; no room reads it on its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from diffuserve.core.errors import ConfigurationError

DEFAULT_MODEL = "emoji-mini"


class ModelEntry(BaseModel):
    """One `[[models]]` table: a checkpoint that requests may name."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    path: Annotated[str, Field(min_length=1)]
    """A folder in diffusers layout, one `.safetensors` file, a hub id (`owner/name`), or `embedded:emoji-mini`."""
    aliases: list[str] = []
    description: str = ""
    sampler: str | None = None
    num_inference_steps: Annotated[int | None, Field(ge=1, le=500)] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=100)] = None
    hires: bool | None = None
    """Draw sizes beyond the native range in two passes; default: yes, but for models that know a single size."""
    native_min: Annotated[int | None, Field(ge=8)] = None
    """Shortest and longest side in pixels that the model draws well; known for the common families."""
    native_max: Annotated[int | None, Field(ge=8)] = None


_Name = Annotated[str, Field(pattern=r"^[^<>:\s][^<>:]{0,99}$")]


class LoraEntry(BaseModel):
    """One `[[loras]]` table: a LoRA that requests may mix in."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    path: Annotated[str, Field(min_length=1)]
    """One `.safetensors` file, or a hub id (`owner/name/file.safetensors`)."""
    models: list[str] = []
    """The models that it fits; default: every one of its family."""
    aliases: list[_Name] = []
    description: str = ""


class ControlNetEntry(BaseModel):
    """One `[[controlnets]]` table."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    path: Annotated[str, Field(min_length=1)]
    """A folder in diffusers layout, or a hub id (`owner/name`)."""
    kind: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "canny"
    """What its maps show: `canny`, `depth`, `openpose`, `tile`, ..."""
    models: list[str] = []
    aliases: list[_Name] = []
    description: str = ""


class AdapterEntry(BaseModel):
    """One `[[adapters]]` table: an IP-Adapter."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    path: Annotated[str, Field(min_length=1)]
    """One `.safetensors` file, or a hub id (`owner/name/file.safetensors`)."""
    image_encoder: Annotated[str, Field(min_length=1)]
    """The folder of the CLIP vision model that it was trained with, or a hub id (`owner/name/folder`)."""
    models: list[str] = []
    aliases: list[_Name] = []
    description: str = ""


class RecipeEntry(BaseModel):
    """One `[[recipes]]` table: a named way of drawing, for dialects whose callers choose by a key (Volcengine's `req_key`)."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    aliases: list[str] = []
    model: str | None = None
    """A model's name; default: the server's default model."""
    prompt: str = "{prompt}"
    """What is drawn, `{prompt}` being what the caller wrote."""
    negative_prompt: str = ""
    """Used where the caller sends none."""
    loras: dict[str, float] = {}
    """Mixed in always, with these weights; the caller's weights win."""
    controlnet: str | None = "canny"
    """A ControlNet's name or kind; used where the model has one that fits."""
    adapter: str | None = None
    """An IP-Adapter's name; default: the first that fits the model."""
    sampler: str | None = None
    num_inference_steps: Annotated[int | None, Field(ge=1, le=500)] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=100)] = None
    strength: Annotated[float | None, Field(gt=0, le=1)] = None


class Settings(BaseSettings):
    """The settings of one server."""

    model_config = SettingsConfigDict(env_prefix="DIFFUSERVE_", env_nested_delimiter="__", extra="forbid")

    # Where it listens
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes a free port."""
    public_url: str | None = None
    """What links begin with behind a proxy, for example https://draw.example.org; else the address the client used.
    """
    allow_anonymous: bool = False
    """Listen on other addresses than loopback although nobody needs a key."""
    cors_origins: list[str] = []
    """Web pages of these origins may call the server; `*` is everybody."""
    trusted_hosts: list[str] = []
    """Further Host headers to accept on a loopback address."""

    # Where things lie
    data_dir: Path = Path("diffuserve-data")
    database_url: Annotated[str | None, Field(repr=False)] = None
    """`postgresql://user:password@host/name` for several servers on one database; default: a SQLite file in `data_dir`."""
    secret_key: SecretStr | None = None
    """Seals key secrets and signs links; the same on every server of one database. Default: a file in `data_dir`."""
    server_name: str | None = None
    """Names this server among several on one database, the same after a restart. Default: a name kept in `data_dir`."""

    # Where pictures lie
    storage: Literal["local", "s3"] = "local"
    s3_bucket: str | None = None
    s3_endpoint: str | None = None
    """For services other than AWS, for example https://cos.ap-guangzhou.myqcloud.com."""
    s3_region: str = "auto"
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    s3_prefix: str = ""
    """Put before every key."""
    s3_path_style: bool = False
    """https://endpoint/bucket/key instead of https://bucket.endpoint/key."""
    s3_public_base_url: str | None = None
    """Links are this and the key, for a bucket that anybody may read, or a CDN before it. Default: presigned links."""
    retention_days: Annotated[float | None, Field(gt=0)] = None
    """Pictures and jobs older than this are deleted; default: kept for ever."""

    # The engine
    engine: Literal["local", "fake"] = "local"
    model: str = DEFAULT_MODEL
    """The default model: a name from `models`, a folder, a `.safetensors` file, or a hub id."""
    models: list[ModelEntry] = []
    loras: list[LoraEntry] = []
    controlnets: list[ControlNetEntry] = []
    adapters: list[AdapterEntry] = []
    recipes: list[RecipeEntry] = []
    model_memory: Annotated[float | None, Field(gt=0)] = None
    """GiB that loaded models may take together; default: what the device has room for. What was used longest ago is let go."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[int | None, Field(ge=1, le=512)] = None
    """Processor threads of the engine; default: one for each physical core."""
    max_batch: Annotated[int, Field(ge=2, le=256)] = 16
    """Most rows in one forward pass; a picture with guidance takes two."""
    reproducible: bool = False
    """Pad every forward to `max_batch` rows: pictures are then equal bit for bit in any company, at the price of
    speed."""
    compile: bool = False
    """`torch.compile` the UNet: slower to start, faster to draw."""
    fake_step_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    """How long a step of the fake engine takes."""

    # Limits
    max_body_bytes: Annotated[int, Field(ge=1024)] = 48 * 2**20
    max_input_pixels: Annotated[int, Field(ge=1)] = 40_000_000
    """Largest input picture, width times height, before it is scaled down."""
    max_queue: Annotated[int, Field(ge=1)] = 1000
    """Jobs that wait; more are answered 'busy'."""
    max_queued_pixels: Annotated[int | None, Field(ge=1)] = None
    """Pixels of the pictures that wait; more are answered 'busy'. Default: no limit but `max_queue`."""
    max_pixels: Annotated[int, Field(ge=64)] = 4096 * 4096
    """Largest picture that can be asked for."""
    link_seconds: Annotated[int, Field(ge=60)] = 7 * 86400
    """How long a link to a result opens."""
    shutdown_seconds: Annotated[float, Field(ge=0)] = 20.0
    """How long running jobs may finish after SIGTERM; the rest is queued again."""
    allow_private_urls: bool = False
    """Fetch input pictures from private and local addresses, and send webhooks to them, too."""

    # Webhooks
    webhook_seconds: Annotated[float, Field(gt=0)] = 86400.0
    """How long a notification is tried again before it is given up."""
    webhook_timeout: Annotated[float, Field(gt=0, le=120)] = 15.0
    """Seconds that a receiver has to answer."""
    webhook_secret: SecretStr | None = None
    """Signs the native dialect's notifications (`whsec_` and base64, Standard Webhooks); default: one for each account."""

    # Help with prompts
    translation: Literal["off", "local", "chat"] = "off"
    """Who translates prompts that a model cannot read: a model in `translation_model`, or the chat endpoint."""
    translation_model: Path | None = None
    """A folder with a Marian model from Chinese to English (OPUS-MT)."""
    enhancement: Literal["off", "local", "chat"] = "off"
    """Who makes more of a prompt where a request asks for it."""
    enhancement_model: Path | None = None
    """A folder with a causal language model."""
    chat_base_url: str | None = None
    """An OpenAI-compatible API, up to and without `/chat/completions`: http://127.0.0.1:11434/v1"""
    chat_api_key: SecretStr | None = None
    chat_model: str | None = None
    prompt_seconds: Annotated[float, Field(gt=0, le=600)] = 20.0
    """How long a request waits for help with its prompts; then it is drawn without."""

    # Watching it
    otlp_endpoint: str | None = None
    """Send OpenTelemetry traces here (OTLP over HTTP); needs diffuserve[otel]."""

    # Manners of the plain dialect
    plain_default_steps: Annotated[int, Field(ge=1, le=150)] = 30
    plain_base64: bool = False
    """Put `base64` beside `image_url` into every answer."""
    plain_always_200: bool = False
    """Answer failures with HTTP 200, as that API's first server did."""

    # Manners of the ModelsLab dialect
    modelslab_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 22.0
    """How long a call waits for its pictures before it is answered `processing`."""
    modelslab_legacy_errors: bool = False
    """Answer failures with HTTP 200 and in the shapes of stablediffusionapi.com, as of 2023."""

    # Manners of the Volcengine dialect
    volcengine_link_seconds: Annotated[int, Field(ge=60)] = 86400
    """How long a link to a result opens in this dialect."""
    volcengine_replay_seconds: Annotated[float, Field(ge=0, le=900)] = 5.0
    """For how long after its first use a signature may be used again: equal requests of one second are signed alike."""
    volcengine_tokens: Annotated[dict[str, SecretStr], Field(repr=False)] = {}
    """Session tokens (STS) that callers must show beside their access key: access key to token."""

    # Manners of the iPollo dialect
    ipollo_model: str | None = None
    """The model behind `stableDiffsionXL`, which callers cannot choose; default: the default model."""
    ipollo_side: Annotated[int, Field(ge=64, le=2048)] = 512
    """Width and height of a picture where the caller names none; SDXL draws better at 1024."""
    ipollo_wait_seconds: Annotated[float, Field(gt=0)] = 300.0
    """How long a call waits for its picture; after that, the picture can be asked for as a task."""
    ipollo_bench_mark: str = ""
    """The class of device that account records name."""
    ipollo_always_104: bool = False
    """Answer 104 for failed tasks at every path, and not at sadTalker's only."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, settings_cls.model_config.get("toml_file"))
        return init_settings, env_settings, toml


def load(config: Path | None = None, **flags: Any) -> Settings:
    """Settings from flags that are not None, the environment, and `config` (default: ./diffuserve.toml where there is
    one).

    Raises ConfigurationError naming the setting and what it may be.
    """
    path = config or Path(os.environ.get("DIFFUSERVE_CONFIG", "diffuserve.toml"))
    if config is not None and not path.is_file():
        raise ConfigurationError(f"there is no configuration file {path}")

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        settings = FileSettings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        got = f" (got {first.get('input')!r})" if first["loc"] and _may_be_shown(str(first["loc"][0])) else ""
        raise ConfigurationError(f"setting {name}: {first['msg'].lower()}{got}") from None
    except ValueError as error:  # a TOML file that does not parse
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    return Settings.model_construct(**{name: getattr(settings, name) for name in Settings.model_fields})


def _may_be_shown(name: str) -> bool:
    """Whether a refused value may be repeated: no secret, and not that of an unknown name, a misspelt secret perhaps."""
    field = Settings.model_fields.get(name)
    return field is not None and field.repr and SecretStr not in get_args(field.annotation)
