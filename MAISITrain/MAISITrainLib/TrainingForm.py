"""A form for the configuration of a training, made from its JSON schema: keys, limits, what is typed, what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from MAISILib.Translate import _

_KINDS = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}  # by the schema's type
LEFT_OUT = ("stage", "data.prepared")  # chosen elsewhere in the panel
_LIMITS = {
    "minimum": (_("at least {limit}"), lambda value, limit: value >= limit),
    "exclusiveMinimum": (_("greater than {limit}"), lambda value, limit: value > limit),
    "maximum": (_("at most {limit}"), lambda value, limit: value <= limit),
    "exclusiveMaximum": (_("less than {limit}"), lambda value, limit: value < limit),
}


class FormError(ValueError):
    """What was typed cannot be the value of its key; the text says why."""


@dataclass(frozen=True)
class Field:
    """One key of the configuration.

    Attributes:
        key: such as "run.steps". kind: "integer", "number", "boolean", "choice", "text", or "json" for what has parts.
        description: for people. default: value where nothing is given. isOptional: whether it may be empty.
        choices: of a "choice". limits: as in the schema, such as {"minimum": 0}. words: texts that may stand in place
            of a number, such as "auto".
    """

    key: str
    kind: str
    description: str
    default: Any = None
    isOptional: bool = False
    choices: tuple[str, ...] = ()
    limits: Mapping[str, float] | None = None
    words: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """The part of the configuration that it is in."""
        return self.key.partition(".")[0]

    @property
    def help(self) -> str:
        """Description, limits and default in one text."""
        limits = [_LIMITS[name][0].format(limit=f"{limit:g}") for name, limit in (self.limits or {}).items()]
        parts = [self.description, ", ".join([*limits, *(_("or {word}").format(word=word) for word in self.words)])]
        parts.append(_("default: {value}").format(value=self.text(self.default) or _("none")))
        return "; ".join(filter(None, parts))

    def text(self, value: Any) -> str:
        """A value as it is typed."""
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    def parse(self, text: str) -> Any:
        """What was typed as a value. Raises FormError."""
        text = text.strip()
        if not text and self.kind != "text":
            if self.isOptional:
                return None
            raise FormError(_("{key} needs a value.").format(key=self.key))
        if self.kind in ("text", "choice") or text in self.words:
            return (text or None) if self.isOptional else text
        try:
            value = {"integer": int, "number": float, "boolean": _truth, "json": json.loads}[self.kind](text)
        except ValueError as error:
            raise FormError(_MISTAKES[self.kind].format(key=self.key, text=text)) from error
        for name, limit in (self.limits or {}).items():
            words, isMet = _LIMITS[name]
            if not isMet(value, limit):
                told = words.format(limit=f"{limit:g}")
                raise FormError(_("{key} must be {limit}, not {text}.").format(key=self.key, limit=told, text=text))
        return value


_MISTAKES = {
    "integer": _("{key} must be a whole number, not '{text}'."),
    "number": _("{key} must be a number, not '{text}'."),
    "boolean": _("{key} must be true or false, not '{text}'."),
    "json": _("{key} must be written as in [1, 2, 3] or {{\"name\": 1}}, not '{text}'."),
}


class TrainingForm:
    """The configuration of one preset, and what the user changes in it.

    Attributes:
        stage: what is trained. fields: by key, in the schema's order.
    """

    def __init__(self, schema: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Args: schema: of ``maisi train schema STAGE``. values: of ``maisi train show PRESET``."""
        self.stage: str = values["stage"]
        self.fields = {field.key: field for field in _fields(schema) if field.key not in LEFT_OUT}
        self._preset = {key: _at(values, key) for key in self.fields}
        self._texts = {key: field.text(self._preset[key]) for key, field in self.fields.items()}

    @property
    def sections(self) -> tuple[str, ...]:
        """Parts of the configuration: that of the stage first."""
        found = dict.fromkeys(field.section for field in self.fields.values())
        return tuple(sorted(found, key=lambda name: name != self.stage))

    def text(self, key: str) -> str:
        """What stands in the form."""
        return self._texts[key]

    def setText(self, key: str, text: str) -> None:
        """The user typed ``text``."""
        self._texts[key] = text

    def mistakes(self) -> dict[str, str]:
        """Key -> sentence, of what cannot be read as a value; other mistakes are found by ``maisi train``."""
        found = {}
        for key, field in self.fields.items():
            try:
                field.parse(self._texts[key])
            except FormError as error:
                found[key] = str(error)
        return found

    def changes(self) -> dict[str, Any]:
        """Key -> value of what differs from the preset. Raises FormError: something cannot be read."""
        values = {key: field.parse(self._texts[key]) for key, field in self.fields.items()}
        return {key: value for key, value in values.items() if value != self._preset[key]}


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    for name, node in schema["properties"].items():
        key = prefix + name
        if "properties" in node:
            yield from _fields(node, f"{key}.")
        else:
            yield _field(key, node)


def _field(key: str, node: Mapping[str, Any]) -> Field:
    """``node`` is one type, or several in "anyOf": null makes it optional, texts may stand beside a number."""
    types = node.get("anyOf", [node])
    words = tuple(str(one["const"]) for one in types if "const" in one) if len(types) > 1 else ()
    plain = [one for one in types if one.get("type") != "null" and "const" not in one] or [node]
    one = plain[0]
    kind = _KINDS.get(one.get("type"), "json")
    choices = tuple(one.get("enum", ())) or ((one["const"],) if "const" in one else ())
    return Field(
        key=key,
        kind="choice" if choices else kind,
        description=node.get("description", ""),
        default=node.get("default"),
        isOptional=any(other.get("type") == "null" for other in types),
        choices=choices,
        limits={name: one[name] for name in _LIMITS if name in one},
        words=words,
    )


def _at(values: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"
