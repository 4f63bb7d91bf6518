"""The tokenizer of OpenAI's embedding models, `cl100k_base`, made of the file that llama-index-core contains."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import tempfile
from pathlib import Path

import platformdirs

from roost.tasks.errors import ModelError

#: Name by which the settings choose it.
CL100K_BASE = "cl100k_base"
#: Most tokens of one text that OpenAI's embedding models take.
WINDOW = 8_191
#: Its ranks in the package: the SHA-1 of their address is the name, as in tiktoken's cache.
_RANKS_FILE = "_static/tiktoken_cache/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
#: Published in tiktoken's source.
_RANKS_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
#: How a text is split before bytes are merged; published there too.
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
    r"\s+(?!\S)|\s"
)


def find_cl100k_base(cache: str) -> Path:
    """Give the folder of the tokenizer; it is made at the first use, in some seconds.

    Args:
        cache: Folder for exported models, as in the settings.

    Raises:
        ModelError: llama-index-core does not contain the ranks, or others.
    """
    root = Path(cache).expanduser() if cache else platformdirs.user_cache_path("roost")
    folder = root / CL100K_BASE
    if not (folder / "tokenizer.json").is_file():
        _make(folder)
    return folder


def _make(folder: Path) -> None:
    spec = importlib.util.find_spec("llama_index.core")
    file = Path(spec.origin).parent / _RANKS_FILE if spec and spec.origin else None
    data = file.read_bytes() if file and file.is_file() else b""
    if hashlib.sha256(data).hexdigest() != _RANKS_SHA256:
        raise ModelError(
            f"the ranks of {CL100K_BASE} are not in llama-index-core: reinstall it, or name a folder with its "
            "tokenizer.json in ROOST_EMBEDDING__TOKENIZER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "tokenizer_config.json", json.dumps({"model_max_length": WINDOW}))
    _write(folder / "tokenizer.json", _tokenizer_json(data))


def _write(file: Path, text: str) -> None:
    """Write a file whole: another process may make the same one."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as stream:
        stream.write(text)
    Path(stream.name).replace(file)


def _tokenizer_json(data: bytes) -> str:
    """Convert ranks, a line `base64 rank` for each token, to the form of the tokenizers package."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    lines = (line.split() for line in data.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    letters = _letters()
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocabulary = {written(token): rank for token, rank in ranks.items()}
    pairs = [(written(first), written(second)) for first, second in merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, fuse_unk=False, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def _letters() -> dict[int, str]:
    """Give the letter that stands for each byte in the tokenizers package, as in GPT-2's vocabulary."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
