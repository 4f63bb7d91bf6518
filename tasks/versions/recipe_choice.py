"""Which settings decide the vectors of a run: those that are set explicitly, else those of the live version.

A setting is explicit when an environment variable, `.env` or the request of a rebuild names it: pydantic notes that in
`model_fields_set`. All others follow the version, so that a rebuild with other choices needs no new settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from roost.tasks.errors import ConfigurationError, RecipeError
from roost.tasks.models.model import hub_revision
from roost.tasks.models.recipe import UNCUT
from roost.tasks.settings import PREFIX, Settings
from roost.tasks.versions.version import Version

_Group = TypeVar("_Group")

#: Words for the settings in messages.
_WORDS = {
    ("embedding", "model"): "model",
    ("embedding", "base_url"): "endpoint",
    ("embedding", "query_instruction"): "query instruction",
    ("embedding", "text_instruction"): "text instruction",
    ("embedding", "sparse"): "sparse index",
    ("chunking", "method"): "chunking method",
    ("chunking", "size"): "chunk size",
    ("chunking", "overlap"): "chunk overlap",
    ("chunking", "context"): "chunk context",
    ("chunking", "fields"): "embedded fields",
    ("milvus", "metric"): "metric",
    ("milvus", "index_type"): "index type",
    ("milvus", "hnsw_m"): "HNSW M",
    ("milvus", "hnsw_ef_construction"): "HNSW efConstruction",
}
#: Settings that say where a model at an endpoint is.
_OF_AN_ENDPOINT = ("base_url", "api_version", "tokenizer", "window")
#: Settings that mean something for one model only.
_OF_A_MODEL = ("revision", "query_instruction", "text_instruction", *_OF_AN_ENDPOINT)
#: Settings that are not compared with a version's: the recipe is compared when the model is found. An endpoint may move
#: to another address, and a tokenizer to another folder.
_NOT_COMPARED = ("revision", *_OF_AN_ENDPOINT[1:])


def settings_of(version: Version) -> dict[str, dict[str, Any]]:
    """Give the settings that a version was built with, by group and name; what does not apply to it is left out."""
    recipe = version.recipe
    chunking: dict[str, Any] = {"method": "none"}
    if recipe.chunker != UNCUT:
        sizes = {"size": recipe.chunk_size, "overlap": recipe.chunk_overlap}
        chunking = {"method": "sentences", **sizes, "context": recipe.context, "fields": recipe.fields}
    place: dict[str, Any] = {"revision": hub_revision(recipe.model, recipe.revision), "base_url": ""}
    if recipe.api:
        place = {name: getattr(version.endpoint, name, "") for name in _OF_AN_ENDPOINT}
    return {
        "embedding": {
            "model": recipe.model,
            **place,
            "query_instruction": recipe.query_instruction,
            "text_instruction": recipe.text_instruction,
            "sparse": recipe.sparse,
        },
        "chunking": chunking,
        "milvus": {"metric": version.metric, **(version.vector_index.settings if version.vector_index else {})},
    }


def follow(settings: Settings, version: Version) -> Settings:
    """Replace all settings that are not explicit and decide the vectors by those that a version was built with.

    Raises:
        ConfigurationError: An explicit setting does not go together with one that is followed.
    """
    groups = {}
    for name, facts in settings_of(version).items():
        group = getattr(settings, name)
        kept = group.model_fields_set
        if name == "embedding" and "model" in kept and group.model != facts["model"]:
            kept = {*kept, *_OF_A_MODEL}
        groups[name] = _with(group, {key: value for key, value in facts.items() if key not in kept})
    chunking = groups["chunking"]
    try:
        type(chunking).model_validate(dict(chunking))
    except ValidationError as error:
        message = error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigurationError(
            f"chunks for index {version.index!r}: {message}; what is not set is as in {version.name}: set "
            "ROOST_CHUNKING__OVERLAP too, or --chunk-overlap"
        ) from None
    return settings.model_copy(update=groups)


def refuse_changes(settings: Settings, version: Version) -> None:
    """Refuse explicit settings that differ from those that a version was built with.

    An explicit revision may be the name of a branch: the recipe is compared when the model is found.

    Raises:
        RecipeError: Some differ; the message names both values and both ways to go on.
    """
    differing = []
    for name, facts in settings_of(version).items():
        group = getattr(settings, name)
        for key in [key for key in facts if key in group.model_fields_set and key not in _NOT_COMPARED]:
            mine = getattr(group, key)
            is_moved = key == "base_url" and bool(mine) == bool(version.recipe.api)
            if mine != facts[key] and not is_moved:
                differing.append((name, key, facts[key], mine))
    if not differing:
        return
    uses = " and ".join(f"{_WORDS[name, key]} {_shown(built)}" for name, key, built, _ in differing)
    yours = " and ".join(_shown(mine) for *_, mine in differing)
    are = "setting is" if len(differing) == 1 else "settings are"
    variables = " ".join(f"{f'{PREFIX}{name}__{key}'.upper()}={built}" for name, key, built, _ in differing)
    raise RecipeError(
        f'Index {version.index!r} uses {uses}, your {are} {yours}. Set {variables}, or run "roost rebuild --index '
        f'{version.index}" to re-index with {yours}.'
    )


def _shown(value: Any) -> str:
    return "none" if value in ("", None) else str(value)


def _with(group: _Group, facts: Mapping[str, Any]) -> _Group:
    """Copy a group of settings with other values, which do not become explicit by that."""
    return type(group).model_construct(group.model_fields_set, **{**dict(group), **facts})  # type: ignore[attr-defined, call-overload, no-any-return]
