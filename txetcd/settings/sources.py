"""What is given of the options: on the command line, in ETCD_ variables and in a file in TOML.

Each of the three sources becomes a `Given`, and these are laid over one another.  Pure: no file is read here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from txetcd import pages
from txetcd.settings import foreign
from txetcd.settings.options import BY_NAME, CONFIG, Option
from txetcd.settings.values import SWITCH, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


class SettingsError(ValueError):
    """What was asked for cannot be done; the message is one line that names the option and the remedy."""

    page = pages.OPTIONS


@dataclass(slots=True)
class Given:
    """The options that one or more sources give, and what is to be said of those that are ignored."""

    values: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def get(self, option: Option[T]) -> T | None:
        """The option's value; if it is not given, its default."""
        return cast("T | None", self.values.get(option.name, option.default))

    def need(self, option: Option[T]) -> T:
        """The value of an option that has a default."""
        return cast(T, self.get(option))

    def label(self, option: Option[Any]) -> str:
        """What the operator called the option."""
        return self.labels.get(option.name, f"--{option.name}")

    def over(self, other: Given) -> Given:
        """These options, and for all that these do not give, the other's."""
        return Given(
            {**other.values, **self.values},
            {**other.labels, **self.labels},
            [*self.warnings, *other.warnings],
        )

    def add(self, option: Option[Any], label: str, text: str) -> None:
        """Note that the source gives an option, under the name `label`."""
        if not text:
            raise SettingsError(f"{label}: is empty; give it a value, or leave it out")
        try:
            value = option.kind.parse(text)
        except ValueError as error:
            raise SettingsError(f"{label} {shown(text)}: {error}") from None
        before = self.values.get(option.name)
        if option.kind.repeats and before is not None:
            value = before + value
        elif self.labels.get(option.name, label) != label and before != value:
            raise SettingsError(
                f"{label} and {self.labels[option.name]}: are the same option; give one of them"
            )
        self.values[option.name] = value
        self.labels[option.name] = label

    def add_foreign(self, name: str, label: str, text: str) -> None:
        """Note that the source gives an option that only etcd has."""
        remedy = foreign.remedy(name, text)
        if remedy is not None:
            raise SettingsError(f"{label}: {remedy}")
        self.warnings.append(f"{label} is ignored: it means nothing to txetcd")


def parse_arguments(arguments: Iterable[str]) -> Given:
    """Read a command line as Go's flags: one dash or two, `-x v` or `-x=v`, `-x` or `-x=false`."""
    given = Given()
    rest = iter(arguments)
    for argument in rest:
        match = re.fullmatch(r"--?([A-Za-z0-9][^=]*)(=.*)?", argument, re.DOTALL)
        if match is None:
            raise SettingsError(f"{shown(argument)}: is not an option; see txetcd --help")
        name, value = match.groups()
        option = BY_NAME.get(name)
        label = f"-{name}" if len(name) == 1 else f"--{name}"
        if option is None and not foreign.is_known(name):
            raise SettingsError(f"{shown(label)}: unknown option; see txetcd --help")
        if value is not None:
            text = value[1:]
        elif option.kind is SWITCH if option else name in foreign.SWITCHES:
            text = "true"
        else:
            following = next(rest, None)
            if following is None:
                raise SettingsError(f"{label}: needs a value")
            text = following
        if option is None:
            given.add_foreign(name, label, text)
        else:
            given.add(option, label, text)
    return given


def parse_environment(environment: Mapping[str, str]) -> Given:
    """Read the ETCD_ variables.  An empty one is as good as none."""
    given = Given()
    for variable, text in sorted(environment.items()):
        if not variable.startswith("ETCD_") or not text:
            continue
        name = variable[len("ETCD_") :].lower().replace("_", "-")
        option = BY_NAME.get(name)
        if option is not None and not option.command_line_only:
            if option.kind is SWITCH:
                # Of old, any other word is a yes.
                text = "false" if text.lower() in ("0", "false") else "true"
            given.add(option, variable, text)
        elif foreign.is_known(name):
            given.add_foreign(name, variable, text)
        else:
            given.warnings.append(f"{variable} is ignored: it is no option of txetcd's")
    return given


def parse_file(text: str, filename: str) -> Given:
    """Read a configuration file in TOML; its keys are the options' names, with dashes or underscores."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{filename}: is not TOML: {error}") from None
    given = Given()
    for key, value in table.items():
        label = f"{filename}: {shown(key)}"
        name = key.replace("_", "-")
        option = BY_NAME.get(name)
        if option is not None and not option.command_line_only and option is not CONFIG:
            for item in _texts(option, label, value):
                given.add(option, label, item)
        elif foreign.is_known(name):
            given.add_foreign(name, label, str(value).lower())
        else:
            raise SettingsError(f"{label}: unknown key; see txetcd --help for the options")
    return given


def _texts(option: Option[Any], label: str, value: object) -> Sequence[str]:
    """What a value in a file would be on the command line, several times if it is to be given so."""
    # By the exact type, for a bool is an int.
    right = type(value) in option.kind.toml
    if isinstance(value, list):
        right = right and all(isinstance(item, str) for item in value)
    if not right:
        raise SettingsError(f"{label}: must be {option.kind.expected}")
    if isinstance(value, list):
        return value if option.kind.repeats else [",".join(value)] if value else []
    return [str(value).lower() if option.kind is SWITCH else str(value)]
