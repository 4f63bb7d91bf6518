"""Commands whose options are made from the fields of a flow's request model: name, help, bounds, choices, default."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from roost.cli.command_help import HelpfulCommand
from roost.cli.option_values import CountsValue, NamesFile, NamesValue, ThresholdValue, TimeValue, make_sources
from roost.cli.value_completion import PlaceValue, complete_index

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

#: Gives the values with which an option may continue.
Completer = Callable[[click.Context, click.Parameter, str], list[str]]


@dataclass(frozen=True)
class Spelling:
    """How a field is written on the command line, where that differs from the rule `--name-of-the-field`.

    names: Names of the option; empty for the rule.
    value: Type of one value; None to take it from the field.
    metavar: What help shows for the value.
    multiple: Whether the option may be repeated; None if it may for a list.
    help: Added to the field's description.
    complete: Completes a value in a shell; None for what the type of the value completes.
    """

    names: tuple[str, ...] = ()
    value: click.ParamType[Any] | None = None
    metavar: str | None = None
    multiple: bool | None = None
    help: str = ""
    complete: Completer | None = None


SPELLINGS: Mapping[str, Spelling] = {
    "sources": Spelling(
        value=PlaceValue(),
        metavar="SOURCE",
        help="A file, folder, glob, URL or table; NAME=SOURCE sets the source's name.",
    ),
    "index": Spelling(names=("--index", "-i"), metavar="NAME", complete=complete_index),
    "questions": Spelling(value=PlaceValue()),
    "since": Spelling(value=TimeValue(), metavar="TIME"),
    "until": Spelling(value=TimeValue(is_end=True), metavar="TIME", help="A date includes that day."),
    "only": Spelling(metavar="GLOB"),
    "uris": Spelling(
        value=NamesFile(), metavar="FILE", multiple=False, help="The file has one name a line; - is standard input."
    ),
    "thresholds": Spelling(names=("--threshold", "--min"), value=ThresholdValue(), metavar="MEASURE=VALUE"),
    "counts": Spelling(value=CountsValue(), metavar="N,N,...", multiple=False),
    "compare": Spelling(value=NamesValue(), metavar="WAY,WAY,...", multiple=False),
    "allow_deletions": Spelling(metavar="SOURCE"),
    "include": Spelling(metavar="GLOB"),
    "exclude": Spelling(metavar="GLOB"),
    "metadata_file": Spelling(names=("--metadata",), value=PlaceValue(), metavar="FILE"),
    "metadata_patterns": Spelling(names=("--metadata-pattern",), metavar="PATTERN"),
    "metadata_values": Spelling(names=("--set",), metavar="NAME=VALUE"),
    "metadata_forget": Spelling(names=("--no-metadata",)),
}
#: Fields of `Source` whose value is a model again -> the name of an option of one of its fields.
SOURCE_MODELS: Mapping[str, str] = {"columns": "{}_column", "metadata": "metadata_{}"}


class RequestCommand(HelpfulCommand):
    """A command whose first options are the fields of a request model; its callback receives the request.

    The model is imported when the command's options are needed, not before: `roost --help` must not wait for it.

    model: Name of a class of `roost.flows.parameters`.
    arguments: Fields that are positional arguments, not options.
    source_options: Fields of `Source` that are options here; all sources get their values.
    without: Fields that this command does not offer.
    nested: Fields whose value is a model again; the fields of that model are options here.
    """

    def __init__(
        self,
        *args: Any,
        model: str,
        arguments: tuple[str, ...] = ("sources",),
        source_options: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        nested: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._model_name, self._arguments, self._source_options = model, arguments, source_options
        self._without, self._nested = without, nested
        self._from_model: list[click.Parameter] | None = None

    @property
    def model(self) -> type[BaseModel]:
        """The request model."""
        from roost.flows import parameters

        model: type[BaseModel] = getattr(parameters, self._model_name)
        return model

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List the parameters: those of the model, and the command's own."""
        if self._from_model is None:
            self._from_model = [*self._make_parameters()]
            self.params = [*self._from_model, *self.params]
        return super().get_params(ctx)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the callback with the request and the values of the command's own options."""
        values = dict(ctx.params)
        request = self._make_request(values)
        assert self.callback is not None  # noqa: S101  the decorator sets it
        return ctx.invoke(self.callback, request, **values)

    def _make_parameters(self) -> Iterator[click.Parameter]:
        for name, field in self.model.model_fields.items():
            if name in self._arguments:
                yield _argument(name, field)
            elif name not in ("sources", *self._without, *self._nested):
                yield _option(name, field)
        for name in self._nested:
            yield from (_option(*each) for each in self._nested_model(name).model_fields.items())
        yield from _source_parameters(self._source_options)

    def _nested_model(self, field: str) -> type[BaseModel]:
        model: type[BaseModel] = _value_type(self.model.model_fields[field])
        return model

    def _make_request(self, values: dict[str, Any]) -> BaseModel:
        """Take the values of the model's fields out of `values` and make the request of them."""
        from_source = {name: values.pop(name) for name in self._source_options if name in values}
        for name in self._source_options:
            if name in SOURCE_MODELS:
                own = {key: values.pop(SOURCE_MODELS[name].format(key)) for key in _source_model(name).model_fields}
                from_source[name] = _drop_empty(own)
        given = {name: values.pop(name) for name in self.model.model_fields if name in values}
        for name in self._nested:
            own = {key: values.pop(key) for key in self._nested_model(name).model_fields}
            given[name] = _drop_empty(own)
        if "sources" in given:
            given["sources"] = make_sources(given["sources"], **from_source)
        return self.model(**_drop_empty(given))


def request_command(model: str, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command whose first argument is a request. `options` as in `RequestCommand`."""
    return click.command(cls=RequestCommand, model=model, **options)


def _drop_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was not given, so that the model's default applies."""
    return {name: value for name, value in values.items() if value not in (None, (), [])}


def _source_parameters(names: tuple[str, ...]) -> Iterator[click.Parameter]:
    """Make the options of fields of `Source`; of its columns, `--id-column` and so on."""
    from roost.tasks.sources.source import Source

    for name in names:
        if name not in SOURCE_MODELS:
            yield _option(name, Source.model_fields[name])
            continue
        for own, field in _source_model(name).model_fields.items():
            yield _option(SOURCE_MODELS[name].format(own), field, metavar="COLUMN" if name == "columns" else None)


def _source_model(name: str) -> type[BaseModel]:
    """Give the model of a field of `Source` that is one of `SOURCE_MODELS`."""
    from roost.tasks.sources.source import Source

    model: type[BaseModel] = _value_type(Source.model_fields[name])
    return model


def _argument(name: str, field: FieldInfo) -> click.Argument:
    spelling = SPELLINGS.get(name, Spelling())
    is_list = _is_list(field)
    metavar = spelling.metavar or name.upper()
    if not field.is_required():
        metavar = f"[{metavar}]"
    return click.Argument(
        [name],
        type=spelling.value,
        nargs=-1 if is_list else 1,
        required=field.is_required(),
        default=None if field.is_required() or is_list else field.default,
        metavar=f"{metavar}..." if is_list else metavar,
        help=_help(field, spelling),
    )


def _option(name: str, field: FieldInfo, *, metavar: str | None = None) -> click.Option:
    """Make the option of a field; a flag that is on by default gets a second name, `--no-...`."""
    spelling = SPELLINGS.get(name, Spelling())
    names = spelling.names or (f"--{name.replace('_', '-')}",)
    text = _help(field, spelling)
    default = field.get_default(call_default_factory=True)
    if _value_type(field) is bool:
        pair = f"{names[0]}/--no-{names[0].removeprefix('--')}" if default else names[0]
        return click.Option([pair, name], is_flag=True, default=default, help=text)
    multiple = _is_list(field) if spelling.multiple is None else spelling.multiple
    return click.Option(
        [*names, name],
        type=spelling.value or _click_type(field),
        multiple=multiple,
        default=None if multiple or default == [] else default,
        show_default=default not in (None, "", [], 0),
        metavar=spelling.metavar or metavar or _metavar(name, field),
        shell_complete=spelling.complete,
        help=text + (" May be repeated." if multiple else ""),
    )


def _metavar(name: str, field: FieldInfo) -> str | None:
    """Name an option's value in the help: N for a number, the field's name for a text; None leaves it to click."""
    if _value_type(field) in (int, float):
        return "N"
    return name.upper() if _value_type(field) is str else None


def _help(field: FieldInfo, spelling: Spelling) -> str:
    return " ".join(filter(None, [field.description, spelling.help]))


def _value_type(field: FieldInfo) -> Any:
    """The type of a field's value, without `| None`."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    is_optional = type(None) in get_args(field.annotation)
    return kinds[0] if is_optional else field.annotation


def _is_list(field: FieldInfo) -> bool:
    return get_origin(_value_type(field)) is list


def _click_type(field: FieldInfo) -> click.ParamType[Any]:
    """The click type of one value: choices of a literal, ranges with the field's bounds."""
    kind = _value_type(field)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    least, most = _bound(field, "ge"), _bound(field, "le")
    if kind is int:
        return click.IntRange(least, most)
    if kind is float:
        return click.FloatRange(least, most)
    return click.STRING


def _bound(field: FieldInfo, name: str) -> Any:
    return next((getattr(part, name) for part in field.metadata if hasattr(part, name)), None)
