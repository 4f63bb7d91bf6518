"""Models at endpoints with OpenAI's embeddings API: found by their settings, or by what a version has stored."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from roost.tasks.errors import ConfigurationError, ModelError
from roost.tasks.ids import digest
from roost.tasks.models.endpoint import CANARY, Endpoint
from roost.tasks.models.endpoint_client import EndpointClient
from roost.tasks.models.endpoint_runner import checked_canary
from roost.tasks.models.loop_thread import LoopThread
from roost.tasks.models.model import (
    PACKAGED_MODELS,
    Model,
    carried_folder,
    fetch_snapshot,
    load_tokenizer,
    read_instructions,
    read_window,
)
from roost.tasks.models.openai_tokenizer import CL100K_BASE, find_cl100k_base
from roost.tasks.settings import Embedding

#: Files of a model on the hub that its tokenizer, window and instructions are read from.
TOKENIZER_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
]
#: Bytes of a number in `Endpoint.canary`.
_NUMBER_BYTES = 4


async def find_endpoint_model(settings: Embedding, tell: Callable[[str], None] | None = None) -> Model:
    """Find the model at the endpoint that the settings name; its dimension and canary come from one small request.

    Args:
        settings: With a `base_url`.
        tell: Called, in another thread, with a line that says that the endpoint limits the rate.

    Raises:
        ModelError: The tokenizer is not here, or the model gives no usable vector.
        ConfigurationError: No tokenizer is named, or the endpoint refuses the key or the model.
        TransientError: The endpoint does not answer.
    """
    endpoint = Endpoint(settings.base_url, settings.api_version, settings.tokenizer, settings.window)
    unmeasured = await asyncio.to_thread(_describe, settings.model, 0, settings, endpoint)
    canary = await _embed_canary(settings, endpoint, tell)
    dimension = len(base64.b64decode(canary)) // _NUMBER_BYTES
    return replace(unmeasured, dimension=dimension, endpoint=replace(endpoint, canary=canary))


def endpoint_model(name: str, dimension: int, settings: Embedding, stored: Endpoint | None) -> Model:
    """Find the model that embedded a version; nothing is sent.

    Args:
        name: Name of the model, of the version's recipe.
        dimension: Its dimension.
        settings: They count where they name this model, or no model; else what is stored counts.
        stored: What the version has stored; None when it has nothing.

    Raises:
        ModelError: The endpoint or the tokenizer is not known.
    """
    stored = stored or Endpoint("")
    is_meant = settings.base_url and (settings.model == name or "model" not in settings.model_fields_set)
    if is_meant or not stored.base_url:
        stored = Endpoint(
            settings.base_url,
            settings.api_version,
            settings.tokenizer or stored.tokenizer,
            settings.window or stored.window,
            stored.canary,
        )
    if not stored.base_url:
        raise ModelError(f"{name!r} embedded the index at an endpoint: set ROOST_EMBEDDING__BASE_URL to its address")
    return _describe(name, dimension, settings, stored)


def _describe(name: str, dimension: int, settings: Embedding, endpoint: Endpoint) -> Model:
    folder = find_tokenizer(endpoint.tokenizer, name, settings.cache)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    query_instruction, text_instruction = read_instructions(settings, folder)
    return Model(
        name=name,
        revision=_revision(endpoint.tokenizer, folder),
        folder=folder,
        dimension=dimension,
        window=endpoint.window or _window(folder, name),
        special_tokens=tokenizer.num_special_tokens_to_add(is_pair=False),
        query_instruction=query_instruction,
        text_instruction=text_instruction,
        endpoint=endpoint,
    )


def _revision(tokenizer: str, folder: Path) -> str:
    """Name the tokenizer by its content; a made one may be written otherwise by another version of its package."""
    return tokenizer if tokenizer == CL100K_BASE else digest((folder / "tokenizer.json").read_bytes(), 8)


def find_tokenizer(tokenizer: str, model: str, cache: str) -> Path:
    """Find the tokenizer that measures the chunks for a model at an endpoint.

    Args:
        tokenizer: A folder, a name on the hub, or `cl100k_base`.
        model: Name of the model, for messages.
        cache: Folder for exported models, as in the settings.

    Returns:
        A folder with `tokenizer.json`.

    Raises:
        ConfigurationError: None is named.
        ModelError: It is not here, and cannot be downloaded.
    """
    if not tokenizer:
        raise ConfigurationError(
            f"chunks for {model!r} must be measured by its own tokenizer: name it in ROOST_EMBEDDING__TOKENIZER, a "
            f"folder with tokenizer.json, the model's name on the hub, or {CL100K_BASE} for OpenAI's models"
        )
    if tokenizer == CL100K_BASE:
        return find_cl100k_base(cache)
    folder = Path(tokenizer).expanduser()
    if folder.is_dir():
        return folder
    carried = carried_folder(tokenizer) if tokenizer in PACKAGED_MODELS else None
    return carried or fetch_snapshot(tokenizer, "", TOKENIZER_FILES, "set ROOST_EMBEDDING__TOKENIZER to a folder")


def _window(folder: Path, model: str) -> int:
    try:
        return read_window(folder)
    except ModelError as error:
        raise ModelError(f"{error}: set ROOST_EMBEDDING__WINDOW to the most tokens that {model!r} embeds") from None


async def _embed_canary(settings: Embedding, endpoint: Endpoint, tell: Callable[[str], None] | None) -> str:
    """Embed the canary text; without `tell` a limited rate is waited for no longer than the time-out."""
    client, thread = EndpointClient(settings.model, endpoint, settings, tell), LoopThread()
    patience_s = float("inf") if tell else settings.timeout

    async def ask() -> str:
        [answer] = await client.ask([CANARY], patience_s=patience_s)
        return checked_canary(answer)

    try:
        return await asyncio.wrap_future(thread.submit(ask))
    finally:
        await asyncio.to_thread(thread.close, client.aclose)
