"""A reader's language: translated texts, and dates as people there write them.

What is translated: domain ``messages``, every text that a template or a module of this package gives to
``gettext``, ``ngettext`` or ``_``; domain ``catalogue``, the owner's steps, whose English is their key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import negotiate_locale
from babel.dates import format_date, format_time, get_timezone_location, get_timezone_name

LOCALES = Path(__file__).parent / "locales"
DOMAINS = ("messages", "catalogue")
ENGLISH = "en"

_REGIONS = {ENGLISH: "en_GB"}
"""Where Babel takes another region for granted than the texts are written for."""


def _(message: str) -> str:
    """Mark a text as one to be translated; it is looked up when an email is written."""
    return message


@dataclass(frozen=True, eq=False)
class Language:
    """The texts of both domains in one language; ``code`` is its BCP 47 tag."""

    code: str
    translations: NullTranslations

    def gettext(self, message: str) -> str:
        """Translate; what has no translation stays English."""
        return self.translations.gettext(message) if message else message

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """Translate, in the form that ``number`` wants."""
        return self.translations.ngettext(singular, plural, number)

    def day(self, day: date) -> str:
        """Write a date: 1 March 2027, 1 maart 2027."""
        return format_date(day, format="long", locale=self._region)

    def moment(self, at: datetime, zone: str = "UTC") -> str:
        """Write a moment by the clock of ``zone`` (an IANA name), and whose clock that is."""
        local = at.astimezone(ZoneInfo(zone))
        time = format_time(local, format="short", locale=self._region)
        return f"{self.day(local.date())}, {time} {self._clock(local, zone)}"

    def days(self, number: int) -> str:
        """Write how long something lasts: 1 day, 3 days."""
        return self.ngettext("%(days)s day", "%(days)s days", number) % {"days": number}

    def _clock(self, local: datetime, zone: str) -> str:
        area, _, _ = zone.partition("/")
        if area in (zone, "Etc"):
            return get_timezone_name(local, width="short", locale=self._region)
        place = get_timezone_location(ZoneInfo(zone), locale=self._region, return_city=True)
        return self.gettext("(%(city)s time)") % {"city": place.rpartition("/")[2]}

    @property
    def _region(self) -> str:
        return _REGIONS.get(self.code, self.code)


@cache
def locales() -> tuple[str, ...]:
    """List the languages that there are texts in."""
    return (ENGLISH, *sorted(folder.name for folder in LOCALES.iterdir() if folder.is_dir()))


@cache
def language(locale: str) -> Language:
    """Return the language of ``locale``, or English where there are no texts for it."""
    code = negotiate_locale([locale.replace("-", "_")], locales()) or ENGLISH
    texts = NullTranslations()
    for domain in DOMAINS:
        texts.add_fallback(translation(domain, LOCALES, [code], fallback=True))
    return Language(code, texts)
