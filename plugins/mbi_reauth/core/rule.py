"""One line of a third party's error model, and how an answer is matched against it."""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import Self

from mbi_reauth.core.answer import Answer, BodyKind, text_of
from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.core.verdict import Cause, Certainty


@cache
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _compiles(expression: str) -> str:
    try:
        _pattern(expression)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return expression


Regex = Annotated[str, AfterValidator(_compiles)]
Text = Annotated[str, StringConstraints(min_length=1)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Scalar = str | int | bool
JsonType = Literal["object", "list", "text", "number", "nothing"]
Confidence = Literal["verified", "reported", "unverified"]


class CatalogueModel(BaseModel):
    """Closed and frozen: an unknown key is a fault, not an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(CatalogueModel):
    """What evidence must show for a rule to fire; every given part must hold, and lists mean "one of".

    ``field`` maps a dotted path into the JSON body (``error.code``; ``*`` steps into each item of a list) to
    the values it may have; ``has`` lists paths that must lead to anything at all, ``present`` and ``absent``
    those that must or must not lead to a value other than null, an empty list or an empty object. ``match``
    maps a path to a regular expression searched in the text there; ``text`` is searched in the whole body.
    ``is_a`` maps a path to the JSON type of what is there (``nothing`` is null). ``header`` maps a header's
    name to a regular expression. ``message`` is searched in a driver's message, but only where no number and
    no SQLSTATE came, unless the same condition asks for one of them as well: a number outranks words.
    ``sqlstate`` lists SQLSTATEs or, by their first two characters, whole classes. ``body`` names what the
    body may be; a page or a text can mean little else than an outage unless it is named. At least one of
    ``any_of`` must hold. Regular expressions, values and names of headers ignore case; names in a body do
    not, and ``Fault|fault`` takes either.
    """

    status: list[int | Annotated[str, StringConstraints(pattern=r"^[1-5]xx$")]] | None = None
    body: list[BodyKind] | None = None
    field: dict[str, list[Scalar]] | None = None
    has: list[str] | None = None
    present: list[str] | None = None
    absent: list[str] | None = None
    is_a: dict[str, JsonType] | None = None
    match: dict[str, Regex] | None = None
    text: Regex | None = None
    header: dict[str, Regex] | None = None
    driver: Driver | None = None
    error_code: list[int | str] | None = None
    sqlstate: list[str] | None = None
    message: Regex | None = None
    failure: list[TransportFailure] | None = None
    any_of: list[Condition] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a condition needs at least one part")
        return self

    def names_words(self, answer: Answer) -> bool:
        """Tell whether what holds of it asks for words of the third party, not only for a status."""
        return self._words_itself or any(
            each.names_words(answer) for each in self.any_of or () if each.holds(answer)
        )

    @property
    def may_name_words(self) -> bool:
        """Tell whether there is an answer of which it asks for words, not only for a status."""
        return self._words_itself or any(each.may_name_words for each in self.any_of or ())

    @property
    def _words_itself(self) -> bool:
        in_the_answer = self.field or self.has or self.present or self.is_a or self.match or self.text
        return bool(in_the_answer or self.header or self.error_code or self.sqlstate or self.message)

    def holds(self, answer: Answer) -> bool:
        """Tell whether the answer shows all of it."""
        return (
            self._fits_outside(answer)
            and self._fits_driver(answer)
            and self._fits_inside(answer)
            and (self.any_of is None or any(each.holds(answer) for each in self.any_of))
        )

    def _fits_outside(self, answer: Answer) -> bool:
        if self.status is not None and answer.status not in self._statuses:
            return False
        if self.body is not None and answer.kind not in self.body:
            return False
        if self.failure is not None and answer.failure not in self.failure:
            return False
        return all(
            _pattern(expression).search(answer.headers.get(name.lower(), ""))
            for name, expression in (self.header or {}).items()
        )

    def _fits_driver(self, answer: Answer) -> bool:
        if self.driver is not None and answer.driver is not self.driver:
            return False
        if self.error_code is not None and answer.error_code not in self._codes:
            return False
        if self.sqlstate is not None and not (answer.sqlstate or "-").startswith(tuple(self.sqlstate)):
            return False
        if self.message is None:
            return True
        heard = self.error_code is not None or self.sqlstate is not None or not answer.numbered
        return heard and bool(_pattern(self.message).search(answer.message or ""))

    def _fits_inside(self, answer: Answer) -> bool:
        return (
            all(answer.values(path) for path in self.has or ())
            and all(_leads_somewhere(answer, path) for path in self.present or ())
            and not any(_leads_somewhere(answer, path) for path in self.absent or ())
            and self._fits_values(answer)
            and (self.text is None or bool(_pattern(self.text).search(answer.words)))
        )

    def _fits_values(self, answer: Answer) -> bool:
        for path, wanted in (self.is_a or {}).items():
            if not any(_type_of(value) == wanted for value in answer.values(path)):
                return False
        for path, allowed in self._allowed.items():
            if not any(text.casefold() in allowed for text in answer.texts(path)):
                return False
        for path, expression in (self.match or {}).items():
            if not any(_pattern(expression).search(text) for text in answer.texts(path)):
                return False
        return True

    @cached_property
    def _statuses(self) -> frozenset[int | None]:
        named = {status for status in self.status or () if isinstance(status, int)}
        classes = [int(status[0]) for status in self.status or () if isinstance(status, str)]
        return frozenset(named.union(*(range(first * 100, first * 100 + 100) for first in classes)))

    @cached_property
    def _codes(self) -> frozenset[str]:
        return frozenset(str(code).casefold() for code in self.error_code or ())

    @cached_property
    def _allowed(self) -> dict[str, frozenset[str]]:
        return {
            path: frozenset((text_of(value) or "").casefold() for value in values)
            for path, values in (self.field or {}).items()
        }


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return next((name for kind, name in _TYPES.items() if isinstance(value, kind)), "nothing")


_TYPES: dict[type, JsonType] = {dict: "object", list: "list", str: "text", int: "number", float: "number"}


def _leads_somewhere(answer: Answer, path: str) -> bool:
    return any(value is not None and value not in ([], {}) for value in answer.values(path))


class Sample(CatalogueModel):
    """An answer for which the rule above it must be the one that fires; ``of`` cites where it was seen."""

    evidence: Evidence
    of: str | None = None


class Rule(CatalogueModel):
    """One line of a third party's error model; the first rule whose condition holds decides."""

    id: RuleId
    at: Endpoint | Literal["any"] = Endpoint.PROBE
    when: Condition
    cause: Cause
    certainty: Certainty = Certainty.EXPLICIT
    because: Text
    source: str | None = None
    confidence: Confidence = "verified"
    samples: Annotated[list[Sample], Field(min_length=1)]

    def fits(self, answer: Answer) -> bool:
        """Tell whether the rule speaks about this answer."""
        return self.at in ("any", answer.endpoint) and self.when.holds(answer)
