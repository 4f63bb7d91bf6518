"""Operator's facts: one frozen tree of settings, read from the environment and `.env`.

Every name is `ROOST_<SUBJECT>__<NAME>`, for example `ROOST_MILVUS__URI`. Nothing else in Roost reads the
environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from roost.tasks.errors import ConfigurationError, unknown_value

PREFIX = "ROOST_"
ENV_FILE = ".env"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Milvus(_Group):
    """Where the index lives, and how it is built."""

    uri: str = Field("./roost.db", description="A local file (Milvus Lite), or http(s)://host:port.")
    token: SecretStr = Field(SecretStr(""), description="`user:password`, or an API key.")
    database: str = Field("", description="Database on the server; empty for its default.")
    ca_file: Path | None = Field(None, description="PEM file that signs the server's TLS certificate.")
    timeout: float = Field(30.0, gt=0, description="Seconds that one call may take.")
    index_type: Literal["HNSW", "FLAT", "AUTOINDEX"] = Field("HNSW", description="Vector index.")
    metric: Literal["COSINE", "IP", "L2"] = Field("COSINE", description="Similarity measure.")
    hnsw_m: int = Field(16, ge=2, le=2048, description="HNSW: links a node.")
    hnsw_ef_construction: int = Field(200, ge=8, description="HNSW: candidates while building.")
    search_ef: int = Field(128, ge=1, description="HNSW: candidates while searching.")

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str) -> str:
        if "://" not in uri:
            return str(Path(uri).expanduser())
        if "@" in urlsplit(uri).netloc:
            raise ValueError("a user and password belong in ROOST_MILVUS__TOKEN, not in the address")
        return uri

    @property
    def is_lite(self) -> bool:
        """Whether the URI names a local Milvus Lite file."""
        return "://" not in self.uri

    @property
    def is_missing(self) -> bool:
        """Whether the URI names a local Milvus Lite file that is not there yet."""
        return self.is_lite and not Path(self.uri).exists()


class Embedding(_Group):
    """Which model makes the vectors."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2", description="Hub name, or a folder that holds the model."
    )
    revision: str = Field("", description="Commit, tag or branch on the hub; empty for the newest.")
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="What runs the model; `auto` takes OpenVINO on a CPU where it is installed."
    )
    device: str = Field("", description="`cpu`, `cuda`, `mps`, for PyTorch; empty to choose by itself.")
    cache: str = Field("", description="Folder for exported models; empty for the user's cache folder.")
    query_instruction: str | None = Field(None, description="Put before a query; unset: the model's own.")
    text_instruction: str | None = Field(None, description="Put before a passage; unset: the model's own.")
    threads: int = Field(0, ge=0, description="Cores that the model may use; 0 for all of them.")
    sparse: Literal["", "bm25"] = Field("", description="`bm25`: index words too, and search by both.")
    tokens_per_call: int = Field(4096, ge=64, description="Padded tokens that one call of PyTorch may hold.")


class Chunking(_Group):
    """How documents are cut, in tokens of the embedding model."""

    method: Literal["sentences", "none"] = Field(
        "sentences",
        description="`none`: one vector a document, of what fits the window; the rest is not seen, but counted.",
    )
    size: int = Field(240, ge=16, description="Most tokens in a chunk; with the model's own it must fit.")
    overlap: int = Field(24, ge=0, description="Tokens that neighbouring chunks share.")

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Chunking:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


class Ingest(_Group):
    """How a run works, without effect on what it makes."""

    batches_in_flight: int = Field(3, ge=1, le=32, description="Batches worked on at once.")
    batch_bytes: int = Field(1_048_576, ge=1024, description="Estimated text bytes in a batch.")
    max_batches: int = Field(300, ge=1, description="Batches in one run; larger runs get larger batches.")
    parse_workers: int = Field(0, ge=0, description="Worker processes; 0 for one a core, four at most.")
    parse_seconds: float = Field(120.0, gt=0, description="Time limit to parse one document.")
    parse_memory_mb: int = Field(2048, ge=256, description="Memory limit of a worker process, MiB.")
    wait_seconds: float = Field(3600.0, ge=0, description="How long a run waits for another on its index.")
    max_delete_fraction: float = Field(
        0.3, ge=0, le=1, description="Largest share of an index that one run may delete."
    )


class Scale(_Group):
    """Where the batches of a run are worked on. With `dask` and `ray` the index must be on a server."""

    engine: Literal["local", "dask", "ray"] = Field("local", description="This process, or the workers of Dask or Ray.")
    address: str = Field("", description="Of a Dask scheduler or a Ray cluster; empty for a temporary one here.")
    workers: int = Field(0, ge=0, le=1024, description="Processes of a temporary one; 0 for one a core.")
    threads: int = Field(0, ge=0, description="Cores for the model of a worker or shard; 0 shares them out on a host.")
    spool: str = Field("", description="Folder that all workers read, for tables' rows; empty for a temporary one.")
    deployment: str = Field("shard/shard", description="Deployment of the flow `shard`, for runs with shards.")
    wait_seconds: float = Field(
        600.0,
        gt=0,
        description="How long shards may wait for a place in the work pool while none of them runs.",
    )


class Evaluation(_Group):
    """Where evaluations are kept."""

    folder: str = Field(
        "./roost-evaluations", description="Folder or fsspec URL; the history of earlier evaluations is read from it."
    )

    @field_validator("folder")
    @classmethod
    def _no_password(cls, folder: str) -> str:
        if any(urlsplit(part).password is not None for part in folder.split("::")):
            raise ValueError("a user and password do not belong in the address: give them as fsspec is configured")
        return folder


class LLM(_Group):
    """Which language model answers questions; `roost ask` alone needs one."""

    model: str = Field("", description="Its name at the endpoint; empty for none.")
    base_url: str = Field("", description="Endpoint that speaks OpenAI's chat completions; empty for OpenAI itself.")
    api_key: SecretStr = Field(SecretStr(""), description="Key of the endpoint.")
    context_tokens: int = Field(6000, ge=600, description="Most tokens of question and passages in one call.")
    answer_tokens: int = Field(800, ge=16, description="Most tokens of an answer.")
    temperature: float = Field(0.1, ge=0, le=2, description="0 for the likeliest words.")
    timeout: float = Field(60.0, gt=0, description="Seconds that the endpoint may be silent.")
    retries: int = Field(3, ge=0, le=10, description="Tries after the first, when it is busy or away.")

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the address of an endpoint begins with http:// or https://")
        if "@" in urlsplit(url).netloc:
            raise ValueError("a user and password do not belong in the address: the key is ROOST_LLM__API_KEY")
        return url


class Settings(BaseSettings):
    """All settings. Defaults serve without any of them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", env_file=ENV_FILE
    )

    milvus: Milvus = Milvus()
    embedding: Embedding = Embedding()
    chunking: Chunking = Chunking()
    ingest: Ingest = Ingest()
    scale: Scale = Scale()
    evaluation: Evaluation = Evaluation()
    llm: LLM = LLM()


def load_settings() -> Settings:
    """Read settings from the environment, then `.env`, then the defaults.

    Raises:
        ConfigurationError: An unknown name, or a value that its field refuses.
    """
    _refuse_unknown_subjects()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']} (see README, Settings)") from None
    except SettingsError:
        whole = ", ".join(name for name in _names() if "__" not in name)
        raise ConfigurationError(f"{whole}: a whole subject is one JSON object (see README, Settings)") from None


def _refuse_unknown_subjects() -> None:
    """pydantic-settings passes over an unknown first word in silence; a typing error must not."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in _names():
        if name.upper().split("__")[0] not in known:
            raise ConfigurationError(unknown_value("setting", name, (f"{k}__…" for k in known)))


def _names() -> list[str]:
    """List our names in the environment, then those in `.env`."""
    from dotenv import dotenv_values

    try:
        names = [*os.environ, *dotenv_values(ENV_FILE)]
    except UnicodeDecodeError:
        raise ConfigurationError(f"{ENV_FILE} is not UTF-8: save it again as UTF-8") from None
    return [name for name in names if name.upper().startswith(PREFIX)]


def fault_point() -> str:
    """Give the point at which a test has this process kill itself: `NAME:N`, its Nth pass. Empty outside pytest."""
    return os.environ.get("PYTEST_ROOST_FAULT", "") if "PYTEST_VERSION" in os.environ else ""


def clock_shift_s() -> float:
    """Give the seconds by which a test shifts the clock of this process, may be negative. 0 outside pytest."""
    return float(os.environ.get("PYTEST_ROOST_CLOCK_SHIFT_S", "0")) if "PYTEST_VERSION" in os.environ else 0.0


def set_library_defaults(*, quiet: bool) -> None:
    """Set what the libraries need before they are first imported; what the user has set stays.

    Args:
        quiet: Keep run logs off the terminal; the UI still gets them.
    """
    defaults = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRPC_VERBOSITY": "NONE",
        # Lite answers from unflushed rows ten times slower: let it flush every few thousand.
        "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": "8000000",
    }
    if quiet:
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
