"""The digests that a STIX pattern names, if any of them alone says that a file is meant.

A pattern is brought to alternatives, each the digests and the size of one file. Within one observation ``OR`` adds
alternatives and ``AND`` joins them; a term about the same file that is no digest (its name, its path) narrows nothing,
since a whole digest already says which file it is. What cannot be told from a file's content gives no alternative:
negated terms, terms about other objects joined by ``AND``, patterns on digests (``LIKE``, ``MATCHES``), several
observations joined by ``AND`` or ``FOLLOWEDBY``, and observations that have to repeat or to lie in a window of time.

This is a reader of hash lists, not a validator: spellings that are seen in the wild (``file:hashes.md5``, ``'MD-5'``,
``IN``, ``h'...'``) are taken. Work is bounded by the lengths below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hashsieve.lists.taking import Other, kind_called
from hashsieve.model import DigestKind

__all__ = ["MAX_ALTERNATIVES", "MAX_PATTERN_CHARS", "FileMeant", "PatternError", "files_meant"]

MAX_PATTERN_CHARS = 1 << 20
MAX_ALTERNATIVES = 10_000
_MAX_NESTING = 50

_STRING = r"'(?:[^'\\]|\\.)*'"
_STEP = rf"(?:[\w-]+|{_STRING}|\"(?:[^\"\\]|\\.)*\")"
_TOKEN = re.compile(
    rf"\s+|(?P<path>[A-Za-z][\w-]*:{_STEP}(?:\.{_STEP}|\[(?:\d+|\*)\])*)|(?P<text>[hbt]?{_STRING})"
    rf"|(?P<number>[-+]?\d+(?:\.\d+)?)|(?P<sign><=|>=|!=|<>|==|[=<>])|(?P<mark>[\[\](),])|(?P<word>[A-Za-z]+)",
    re.DOTALL,
)
_HASH_PATH = re.compile(rf"(?:file|artifact):(?:content_ref\.)?hashes\.({_STEP})$", re.IGNORECASE)
_SIZE_PATH = re.compile(r"(?:file:size|artifact:size)$", re.IGNORECASE)
_FILE_PATH = re.compile(r"(?:file|artifact):", re.IGNORECASE)
_VENDOR_NAMES = {"sha2": DigestKind.SHA256}


class PatternError(ValueError):
    """The text is no pattern, or one that is too large to be looked at."""


@dataclass(frozen=True, slots=True)
class FileMeant:
    """One alternative: digests by kind, as text, and the size where it is named."""

    digests: tuple[tuple[DigestKind, str], ...] = ()
    size_bytes: int | None = None


@dataclass(slots=True)
class Meaning:
    """What a pattern names. ``left_out`` counts terms by the reason why they name no file."""

    files: list[FileMeant] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


_Alternatives = list[FileMeant]
_ANY: _Alternatives = [FileMeant()]


def files_meant(pattern: str) -> Meaning:
    """The files that *pattern* names. Raises :class:`PatternError` if it cannot be read."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise PatternError(f"longer than {MAX_PATTERN_CHARS} characters")
    parser = _Parser(pattern)
    alternatives = parser.pattern()
    meaning = Meaning(left_out=parser.left_out)
    seen = set()
    for each in alternatives:
        if each.digests and each not in seen:
            seen.add(each)
            meaning.files.append(each)
    return meaning


class _Parser:
    """Recursive descent over the tokens of one pattern."""

    def __init__(self, pattern: str) -> None:
        self._tokens = list(_tokens(pattern))
        self._at = 0
        self._depth = 0
        self.left_out: dict[str, int] = {}

    def pattern(self) -> _Alternatives:
        """The whole pattern."""
        found = self._observations()
        if self._at < len(self._tokens):
            raise self._wrong("the end")
        return found

    def _observations(self) -> _Alternatives:
        """Observations joined by FOLLOWEDBY, which binds least, OR and AND."""
        found = self._or_observations()
        while self._word("FOLLOWEDBY"):
            self._or_observations()
            found = self._leave_out("needs-several-files")
        return found

    def _or_observations(self) -> _Alternatives:
        found = self._and_observations()
        while self._word("OR"):
            found = self._either(found, self._and_observations())
        return found

    def _and_observations(self) -> _Alternatives:
        found = self._observation()
        while self._word("AND"):
            self._observation()
            found = self._leave_out("needs-several-files")
        return found

    def _observation(self) -> _Alternatives:
        if self._mark("("):
            self._enter()
            found = self._observations()
            self._leave(")")
        else:
            if not self._mark("["):
                raise self._wrong("[")
            found = self._or_terms()
            if not self._mark("]"):
                raise self._wrong("]")
        while self._qualifier():
            found = self._leave_out("needs-several-files")
        return found

    def _qualifier(self) -> bool:
        """Takes one qualifier, if there is one."""
        for word, unit in (("WITHIN", "SECONDS"), ("REPEATS", "TIMES"), ("START", "STOP")):
            if self._word(word):
                self._take("number", "text")
                if not self._word(unit):
                    raise self._wrong(unit)
                if unit == "STOP":
                    self._take("text")
                return True
        return False

    def _or_terms(self) -> _Alternatives:
        found = self._and_terms()
        while self._word("OR"):
            found = self._either(found, self._and_terms())
        return found

    def _and_terms(self) -> _Alternatives:
        found = self._term()
        while self._word("AND"):
            found = self._both(found, self._term())
        return found

    def _term(self) -> _Alternatives:
        if self._mark("("):
            self._enter()
            found = self._or_terms()
            self._leave(")")
            return found
        if self._word("NOT"):
            self._term()
            return self._leave_out("negated")
        if self._word("EXISTS"):
            path = self._take("path")
            return _ANY if _FILE_PATH.match(path) else self._leave_out("other-type")
        path = self._take("path")
        negated = self._word("NOT")
        values, operator = self._comparison()
        if negated or operator in ("!=", "<>"):
            return self._leave_out("negated")
        return self._meaning(path, operator, values)

    def _comparison(self) -> tuple[list[str], str]:
        """The values on the right side, and the operator."""
        kind, text = self._peek()
        if kind == "sign":
            self._at += 1
            return [self._take("text", "number", "word")], text
        word = text.upper() if kind == "word" else ""
        if word in ("LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"):
            self._at += 1
            return [self._take("text")], word
        if word == "IN":
            self._at += 1
            if not self._mark("("):
                raise self._wrong("(")
            values = [self._take("text", "number", "word")]
            while self._mark(","):
                values.append(self._take("text", "number", "word"))
            if not self._mark(")"):
                raise self._wrong(")")
            return values, word
        raise self._wrong("a comparison")

    def _meaning(self, path: str, operator: str, values: list[str]) -> _Alternatives:
        """The alternatives of one comparison that is not negated."""
        found = _HASH_PATH.match(path)
        if found:
            name = _unquoted(found[1])
            kind = _VENDOR_NAMES.get(name.lower().replace("-", "")) or kind_called(name)
            if not isinstance(kind, DigestKind):
                # Of the same file: it narrows nothing where a digest stands beside it, and says nothing alone.
                self._leave_out(str(kind or Other.UNSUPPORTED), len(values))
                return _ANY
            if operator not in ("=", "==", "IN"):
                return self._leave_out("no-whole-digest")
            return self._bounded([FileMeant(((kind, _unquoted(value)),)) for value in values])
        if _SIZE_PATH.match(path) and operator in ("=", "==") and values[0].isdigit() and len(values[0]) < 19:
            return [FileMeant((), int(values[0]))]
        return _ANY if _FILE_PATH.match(path) else self._leave_out("other-type")

    def _either(self, one: _Alternatives, other: _Alternatives) -> _Alternatives:
        return self._bounded([*one, *other])

    def _both(self, one: _Alternatives, other: _Alternatives) -> _Alternatives:
        if len(one) * len(other) > MAX_ALTERNATIVES:
            raise PatternError(f"means more than {MAX_ALTERNATIVES} files")
        joined = []
        for a in one:
            for b in other:
                digests = dict(a.digests)
                contradicting = any(digests.setdefault(kind, text).lower() != text.lower() for kind, text in b.digests)
                sizes = {each.size_bytes for each in (a, b)} - {None}
                if not contradicting and len(sizes) < 2:
                    joined.append(FileMeant(tuple(digests.items()), sizes.pop() if sizes else None))
        return joined

    def _bounded(self, alternatives: _Alternatives) -> _Alternatives:
        if len(alternatives) > MAX_ALTERNATIVES:
            raise PatternError(f"means more than {MAX_ALTERNATIVES} files")
        return alternatives

    def _leave_out(self, reason: str, count: int = 1) -> _Alternatives:
        self.left_out[reason] = self.left_out.get(reason, 0) + count
        return []

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_NESTING:
            raise PatternError(f"nested deeper than {_MAX_NESTING}")

    def _leave(self, mark: str) -> None:
        self._depth -= 1
        if not self._mark(mark):
            raise self._wrong(mark)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, *kinds: str) -> str:
        kind, text = self._peek()
        if kind not in kinds:
            raise self._wrong(" or ".join(kinds))
        self._at += 1
        return text

    def _word(self, word: str) -> bool:
        """Takes *word* if it comes next."""
        kind, text = self._peek()
        if kind == "word" and text.upper() == word:
            self._at += 1
            return True
        return False

    def _mark(self, mark: str) -> bool:
        if self._peek() == ("mark", mark):
            self._at += 1
            return True
        return False

    def _wrong(self, wanted: str) -> PatternError:
        return PatternError(f"{wanted} expected at token {self._at + 1}")


def _tokens(pattern: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise PatternError(f"not a token at character {at + 1}")
        if token.lastgroup is not None:
            found.append((token.lastgroup, token.group()))
        at = token.end()
    return found


def _unquoted(text: str) -> str:
    """The text within quotes, or *text* itself; binary literals keep their value, not their letter."""
    if len(text) > 2 and text[0] in "hbt" and text[1] == "'":
        text = text[1:]
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
