"""Settings: all that Roost reads from environment variables and `.env`, as one frozen tree.

Every name is `ROOST_<SUBJECT>__<NAME>`, for example `ROOST_MILVUS__URI`. No other module of
Roost reads the environment.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from roost.tasks.errors import ConfigurationError

PREFIX = "ROOST_"
ENV_FILE = ".env"
#: Similarity of whole names, from 0 to 1 by difflib, from which a known name is suggested for an unknown one.
MIN_SIMILARITY = 0.85
#: Most seconds of one call to Milvus. A renewal of the writer lease is a read and a write; both must end within the 90
#: seconds in which the lease's owner may write, also when the server answers late.
MAX_MILVUS_TIMEOUT_S = 30.0

#: Idle time of a Prefect server that is kept because a person is at the terminal.
DEFAULT_IDLE_MINUTES = 10.0


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _endpoint_url(url: str, key: str) -> str:
    """Check the address of an endpoint, which may be empty; `key` names the place of its key."""
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("the address of an endpoint starts with http:// or https://")
    if "@" in urlsplit(url).netloc:
        raise ValueError(f"write no user and password into the address: the key is {key}")
    return url


def _keys_by_url(keys: SecretStr) -> dict[str, SecretStr]:
    """Read the API keys of several endpoints, a JSON object; empty text means none."""
    try:
        found = json.loads(keys.get_secret_value() or "{}")
        return {url.rstrip("/"): SecretStr(str(key)) for url, key in found.items()}
    except (ValueError, AttributeError):
        raise ValueError('must be a JSON object: {"https://host/v1": "key"}') from None


class Milvus(_Group):
    """The connection to Milvus, and the parameters of its vector index."""

    uri: str = Field("./roost.db", description="Local file for Milvus Lite, or http(s)://host:port of a server.")
    token: SecretStr = Field(SecretStr(""), description="`user:password` or an API key.")
    database: str = Field("", description="Name of the database; empty: the server's default.")
    ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the server's TLS certificate."
    )
    timeout: float = Field(30.0, gt=0, description="Time limit of one call, in seconds; at most 30.")
    index_type: Literal["HNSW", "FLAT", "AUTOINDEX"] = Field("HNSW", description="Type of the vector index.")
    metric: Literal["COSINE", "IP", "L2"] = Field("COSINE", description="Similarity measure.")
    hnsw_m: int = Field(16, ge=2, le=2048, description="HNSW: number of links per node (M).")
    hnsw_ef_construction: int = Field(
        200, ge=8, description="HNSW: number of candidates while building (efConstruction)."
    )
    search_ef: int = Field(128, ge=1, description="HNSW: number of candidates while searching (ef).")
    search_consistency: Literal["strong", "bounded"] = Field(
        "strong",
        description="Whether a search sees every write (`strong`: on a server it waits for the next tick of its clock, "
        "by default every 0.2 s) or answers at once and may miss the writes of the last seconds (`bounded`).",
    )

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str) -> str:
        if "://" not in uri:
            return str(Path(uri).expanduser())
        if "@" in urlsplit(uri).netloc:
            raise ValueError("write user and password into ROOST_MILVUS__TOKEN, not into the address")
        return uri

    @field_validator("timeout")
    @classmethod
    def _within_the_lease(cls, timeout: float) -> float:
        if timeout > MAX_MILVUS_TIMEOUT_S:
            raise ValueError(
                f"must be at most {MAX_MILVUS_TIMEOUT_S:.0f} seconds: a run renews its writer lease by such calls, and "
                "the lease would expire while one of them waits"
            )
        return timeout

    @property
    def is_lite(self) -> bool:
        """Whether the URI names a local Milvus Lite file."""
        return "://" not in self.uri

    @property
    def is_missing(self) -> bool:
        """Whether the URI names a local Milvus Lite file that does not exist yet."""
        return self.is_lite and not Path(self.uri).exists()


class Embedding(_Group):
    """The embedding model."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2", description="Name on the Hugging Face hub, or folder of the model."
    )
    revision: str = Field("", description="Commit, tag or branch on the hub; empty: the newest.")
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="Engine that runs the model; `auto`: OpenVINO on a CPU if it is installed, else PyTorch."
    )
    device: str = Field("", description="Device for PyTorch: `cpu`, `cuda`, `mps`; empty: the fastest available.")
    cache: str = Field("", description="Folder for exported models; empty: the user's cache folder.")
    query_instruction: str | None = Field(None, description="Text put before each query; unset: the model's own.")
    text_instruction: str | None = Field(None, description="Text put before each chunk; unset: the model's own.")
    threads: int = Field(0, ge=0, description="Number of CPU cores for the model; 0: all.")
    sparse: Literal["", "bm25"] = Field("", description="`bm25`: also index the words, and combine both searches.")
    tokens_per_call: int = Field(
        0, ge=0, description="Maximum number of padded tokens in one call of PyTorch; 0: as fits the device."
    )
    base_url: str = Field(
        "", description="URL of an endpoint with OpenAI's embeddings API; empty: this process embeds."
    )
    api_key: SecretStr = Field(SecretStr(""), description="API key of the endpoint; sent to this URL only.")
    other_keys: SecretStr = Field(
        SecretStr(""), description="API keys of endpoints of other versions: a JSON object, URL of the endpoint to key."
    )
    api_version: str = Field(
        "", description="API version of an Azure endpoint; the model is then the name of the deployment."
    )
    tokenizer: str = Field(
        "",
        description="Tokenizer of an endpoint's model: folder, name on the hub, or `cl100k_base` for OpenAI's models.",
    )
    window: int = Field(
        0, ge=0, description="Most tokens of one text at the endpoint; 0: as stated beside the tokenizer."
    )
    tokens_per_request: int = Field(300_000, ge=1, description="Maximum number of tokens in one request.")
    inputs_per_request: int = Field(
        256, ge=1, description="Maximum number of texts in one request; OpenAI allows 2048."
    )
    requests_in_flight: int = Field(8, ge=1, le=256, description="Number of requests sent concurrently.")
    timeout: float = Field(60.0, gt=0, description="Time to wait for the endpoint, in seconds.")
    retries: int = Field(3, ge=0, le=10, description="Number of retries when the endpoint fails or is unreachable.")
    price: float = Field(0.0, ge=0, description="Price of a million tokens, for plans and reports; 0: show no cost.")

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return _endpoint_url(url, "ROOST_EMBEDDING__API_KEY").rstrip("/")

    @field_validator("other_keys")
    @classmethod
    def _are_keys(cls, keys: SecretStr) -> SecretStr:
        _keys_by_url(keys)
        return keys

    @model_validator(mode="after")
    def _key_has_a_place(self) -> Embedding:
        if self.api_key.get_secret_value() and not self.base_url:
            raise ValueError("ROOST_EMBEDDING__API_KEY is set: set ROOST_EMBEDDING__BASE_URL too, where it is sent to")
        return self

    def key_for(self, url: str) -> SecretStr:
        """Give the API key of an endpoint; empty for one to which no key was given."""
        return self.api_key if url == self.base_url else _keys_by_url(self.other_keys).get(url, SecretStr(""))


class Search(_Group):
    """The filter of all searches, and the reranker.

    The reranker is a cross-encoder that reads the query with each of the best chunks and orders them anew. It runs as
    the embedding model does: ROOST_EMBEDDING__BACKEND, __DEVICE, __CACHE and __THREADS apply to it too.
    """

    required_filter: str = Field(
        "",
        description="Filter that everything read by searches must match too; empty: none. Evaluations do not use it.",
    )

    reranker: str = Field("", description="Cross-encoder: name on the Hugging Face hub, or folder; empty: none.")
    reranker_revision: str = Field("", description="Commit, tag or branch on the hub; empty: the newest.")
    rerank_count: int = Field(
        20, ge=1, le=1000, description="Number of the best chunks that the reranker orders; at least the hits wanted."
    )


class Chunking(_Group):
    """How documents are split into chunks."""

    method: Literal["sentences", "none"] = Field(
        "sentences",
        description="`sentences`: chunks of whole sentences; `none`: one chunk per document, cut at the window.",
    )
    size: int = Field(240, ge=16, description="Maximum number of tokens in a chunk, by the model's tokenizer.")
    overlap: int = Field(24, ge=0, description="Number of tokens that neighbouring chunks share.")
    context: Literal["", "headings"] = Field(
        "", description="`headings`: embed the title and the headings above a chunk with it; its stored text stays."
    )
    fields: str = Field(
        "",
        description="Names of metadata fields, separated by commas (`title,team`), whose names and values are embedded "
        "with each chunk; its stored text stays. Not with the method `none`.",
    )

    @field_validator("fields")
    @classmethod
    def _are_names(cls, fields: str) -> str:
        names = [name.strip() for name in fields.split(",")] if fields.strip() else []
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"{fields!r}: write each field once, separated by commas, as in title,team")
        return ",".join(names)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields that are embedded with each chunk; none where documents are not cut."""
        return tuple(self.fields.split(",")) if self.fields and self.method != "none" else ()

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Chunking:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


class Ingest(_Group):
    """Resources and limits of a run. They do not change its result."""

    batches_in_flight: int = Field(3, ge=1, le=32, description="Number of batches processed concurrently.")
    batch_bytes: int = Field(1_048_576, ge=1024, description="Estimated bytes of text in one batch.")
    max_batches: int = Field(
        300,
        ge=1,
        description="Number of batches that a run aims for; larger runs get larger batches, up to 16 MiB of text.",
    )
    parse_workers: int = Field(0, ge=0, description="Number of parsing processes; 0: one per core, at most four.")
    parse_seconds: float = Field(
        120.0, gt=0, description="Limit for parsing one document, in seconds of processor time."
    )
    parse_memory_mb: int = Field(2048, ge=256, description="Memory limit of one parsing process, in MiB.")
    table_seconds: float = Field(
        3600.0, gt=0, description="Limit for listing the rows of one table, in seconds of processor time."
    )
    table_mb: int = Field(
        8192, ge=1, description="Largest size of a compressed or remote table when it is uncompressed, in MiB."
    )
    follow_links: bool = Field(
        default=False, description="Index files outside of a source's folder to which links in it point."
    )
    wait_seconds: float = Field(
        3600.0, ge=0, description="Time that a run waits for another run on the same index, in seconds."
    )
    run_seconds: float = Field(
        0.0, ge=0, description="Time limit of a run, the wait for another run included, in seconds; 0: none."
    )
    max_delete_fraction: float = Field(
        0.3, ge=0, le=1, description="Largest share of a source, and of an index, that one run may delete, from 0 to 1."
    )


class Web(_Group):
    """Reading of web sites by their sitemaps."""

    rate: float = Field(5.0, gt=0, le=1000, description="Most requests to one site in a second.")
    timeout: float = Field(30.0, gt=0, description="Time limit of one request, in seconds.")
    page_mb: int = Field(10, ge=1, le=1024, description="Largest size of a page, uncompressed, in MiB.")
    max_pages: int = Field(100_000, ge=1, description="Most pages of one site; of a larger one nothing is deleted.")


class Scale(_Group):
    """The engine that processes the batches of a run. `dask` and `ray` need a Milvus server."""

    engine: Literal["local", "dask", "ray"] = Field(
        "local", description="`local`: this process; else the workers of Dask or Ray."
    )
    address: str = Field("", description="Address of a Dask scheduler or Ray cluster; empty: start a temporary one.")
    workers: int = Field(0, ge=0, le=1024, description="Number of processes of a temporary cluster; 0: one per core.")
    threads: int = Field(
        0,
        ge=0,
        description="Number of CPU cores for the model in one worker or shard; 0: an equal share of the host's.",
    )
    spool: str = Field(
        "", description="Folder for the rows of tables, which all workers can read; empty: a temporary one."
    )
    deployment: str = Field("shard/shard", description="Deployment of the flow `shard`, as FLOW/NAME.")
    wait_seconds: float = Field(
        600.0,
        gt=0,
        description="Time that shards may wait for a slot of the work pool while none of them runs, in seconds.",
    )


class Evaluation(_Group):
    """The history of evaluations."""

    folder: str = Field("./roost-evaluations", description="Folder or fsspec URL to which evaluations are written.")

    @field_validator("folder")
    @classmethod
    def _no_password(cls, folder: str) -> str:
        if any(urlsplit(part).password is not None for part in folder.split("::")):
            raise ValueError("write no user and password into the address: configure them in fsspec")
        return folder


class LLM(_Group):
    """The language model, for `roost ask` and the answers of an evaluation."""

    model: str = Field("", description="Name of the model at the endpoint; empty: no model.")
    base_url: str = Field("", description="URL of an endpoint with OpenAI's chat completions API; empty: OpenAI.")
    api_key: SecretStr = Field(SecretStr(""), description="API key of the endpoint.")
    context_tokens: int = Field(
        6000, ge=600, description="Maximum number of tokens of question and chunks in one call."
    )
    answer_tokens: int = Field(800, ge=16, description="Maximum number of tokens of an answer.")
    temperature: float = Field(0.1, ge=0, le=2, description="Sampling temperature; 0: always the most likely token.")
    timeout: float = Field(60.0, gt=0, description="Time to wait for data from the endpoint, in seconds.")
    retries: int = Field(3, ge=0, le=10, description="Number of retries when the endpoint is busy or unreachable.")

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return _endpoint_url(url, "ROOST_LLM__API_KEY")


class Prefect(_Group):
    """The Prefect server of commands when Prefect's own settings name none."""

    idle_minutes: float | None = Field(
        None,
        ge=0,
        description="Minutes without use after which the server that a command started ends; 0: it ends with the "
        "command; unset: 10 in a terminal, 0 without one and where `CI` is set.",
    )

    def kept_minutes(self, *, has_terminal: bool) -> float:
        """Return the idle time of a kept server, in minutes; 0 to keep none."""
        if self.idle_minutes is not None:
            return self.idle_minutes
        is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
        return 0.0 if is_ci or not has_terminal else DEFAULT_IDLE_MINUTES


class Settings(BaseSettings):
    """All settings. Every setting has a default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", env_file=ENV_FILE
    )

    milvus: Milvus = Milvus()
    embedding: Embedding = Embedding()
    chunking: Chunking = Chunking()
    search: Search = Search()
    ingest: Ingest = Ingest()
    web: Web = Web()
    scale: Scale = Scale()
    evaluation: Evaluation = Evaluation()
    llm: LLM = LLM()
    prefect: Prefect = Prefect()


def load_settings() -> Settings:
    """Read the settings: environment variables first, then `.env`, then the defaults.

    Raises:
        ConfigurationError: An unknown name or an invalid value; the message names the setting, not the value.
    """
    for name in _given_names():
        _check_name(name)
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "extra_forbidden":  # in a group given as one JSON object
            _check_name(name)
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{name}: {message} (see the docs: Settings)") from None
    except SettingsError:
        groups = ", ".join(name for name in _given_names() if "__" not in name)
        raise ConfigurationError(f"{groups}: must be a JSON object of settings (see the docs: Settings)") from None


def _check_name(name: str) -> None:
    """Refuse an unknown name. pydantic-settings ignores a wrong group, and does not suggest the right name.

    Args:
        name: Name of an environment variable that starts with `ROOST_`, in any case.
    """
    known = {
        f"{PREFIX}{group}__{setting}".upper()
        for group, field in Settings.model_fields.items()
        for setting in field.annotation.model_fields  # type: ignore[union-attr]
    }
    groups = {setting.split("__")[0] for setting in known}
    upper = name.upper()
    if upper in known or upper in groups:
        return
    group, _, setting = upper.partition("__")
    mates = sorted(each.removeprefix(f"{group}__") for each in known if each.startswith(f"{group}__"))
    if similar := get_close_matches(setting, mates, n=1):
        raise ConfigurationError(f"unknown setting {name}; did you mean {group}__{similar[0]}?")
    if similar := get_close_matches(upper, sorted(known), n=1, cutoff=MIN_SIMILARITY):
        raise ConfigurationError(f"unknown setting {name}; did you mean {similar[0]}?")
    choices = [f"{group}__{each}" for each in mates] or [f"{each}__…" for each in groups]
    raise ConfigurationError(f"unknown setting {name}; known: {', '.join(sorted(choices))}")


def _given_names() -> list[str]:
    """List the names that start with `ROOST_`: those of the environment, then those of `.env`."""
    from dotenv import dotenv_values

    try:
        names = [*os.environ, *dotenv_values(ENV_FILE)]
    except UnicodeDecodeError:
        raise ConfigurationError(f"{ENV_FILE} is not UTF-8: save it as UTF-8") from None
    return [name for name in names if name.upper().startswith(PREFIX)]


def names_in_environment() -> set[str]:
    """Get the names of all environment variables, in capitals."""
    return {name.upper() for name in os.environ}


def variable_of_source(name: str) -> str | None:
    """Get the environment variable that a source's URI names for an argument, perhaps a secret; None if not set."""
    return os.environ.get(name)


def crash_point_setting() -> str:
    """Get the point at which a test lets this process kill itself: `NAME:N`, its Nth pass. Empty outside pytest."""
    return os.environ.get("PYTEST_ROOST_CRASH_POINT", "") if "PYTEST_VERSION" in os.environ else ""


def clock_shift_s() -> float:
    """Get the seconds by which a test shifts the clock of this process, may be negative. 0 outside pytest."""
    return float(os.environ.get("PYTEST_ROOST_CLOCK_SHIFT_S", "0")) if "PYTEST_VERSION" in os.environ else 0.0


def set_library_defaults(*, quiet: bool) -> None:
    """Set environment variables of libraries before their first import. A variable that the user has set stays.

    Args:
        quiet: Do not print the logs of runs on the terminal; the Prefect UI still shows them.
    """
    defaults = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",  # Prefect's client: its notice would break the progress bar's line
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Milvus Lite searches unflushed rows ten times slower: let it flush every few thousand rows.
        "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": "8000000",
    }
    if quiet:
        defaults["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
        defaults["PREFECT_LOGGING_INTERNAL_LEVEL"] = "CRITICAL"  # else an event that was not sent is printed whole
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # The command says so itself, in one line.
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
    # OpenVINO imports its telemetry if it can, which creates ~/intel: here it is as if that was not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def keep_ray_on_loopback() -> None:
    """Have a temporary Ray cluster listen on 127.0.0.1; call it before the first import of `ray`.

    It is the only way on Linux: `ray.init(_node_ip_address="127.0.0.1")` takes the host's own address instead.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
