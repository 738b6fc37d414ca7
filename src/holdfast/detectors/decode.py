r"""Decode text that is wrapped in encodings.

`readings` yields a text and everything that is encoded inside it, up to three layers deep. The leak detector searches
these readings for confidential texts (`known_texts.py`), and the review page shows them to the reviewer, so both see
the same decoded text.

| step | recognised by |
|---|---|
| percent, entities, escapes | `%41`, `&#65;`, `\u0041`, `\x41` or `\101` anywhere in the text |
| unseen | sixty-four or more invisible characters or signs that stand for bits, or characters that stand for bytes |
| letters twice | a word-like text of which every letter is written twice |
| quoted-printable | four or more bytes in a row as `=41` |
| letters apart | four or more letters with a space or sign between each two |
| decimal, binary | twelve or more character codes in a row that give mostly letters |
| hex | eight or more pairs of digits, also separated by white space, colons or hyphens |
| uuencode | two or more lines of it |
| base58 | a run of 40 to 400 letters and digits that gives text |
| tags | HTML tags, and elements of at most three characters, inside words |
| case | sixteen or more capitals after small letters: capitals that stand for bits |
| turned | letters that are printed upside down, from the end to the beginning |
| base64, base32, base85 | long runs of the alphabet, at each alignment; base64 and base32 also across gaps |
| compressed | the magic bytes of gzip, zlib, bzip2 or xz behind one of the byte encodings |
| rot13, reversed | a line that reads more like English after the transform than before |
| shifted | a line that does not read like English, and does if each letter or character is moved by the same number |

The input is hostile: nothing raises, and the total amount of decoded text is bounded.
"""

from __future__ import annotations

import binascii
import bz2
import codecs
import html
import lzma
import math
import re
import zlib
from base64 import a85decode, b32decode, b85decode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote_to_bytes

_DEPTH = 3
#: Most bytes that one compressed run may expand to, and most characters decoded from one text.
_MOST_INFLATED, _MOST_DECODED = 1 << 20, 4 << 20
_GAPS = re.compile(r"[\s.\"'>|]+")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([0-3][0-7]{2})")
_BRACED = re.compile(r"\\[ux]\{([0-9a-fA-F]{1,6})\}|(?<!\w)U\+([0-9a-fA-F]{4,6})(?!\w) ?")
#: HTML: elements with next to nothing inside, comments and tags, where they split words.
_NOTHING = re.compile(r"<([a-z][a-z0-9]{0,11})(?:\s[^<>]{0,100})?>[^<]{0,3}</\1>", re.IGNORECASE)
_TAG = re.compile(r"<!--.{0,200}?-->|</?[a-z][a-z0-9]{0,11}(?:\s[^<>]{0,300})?/?>", re.IGNORECASE | re.DOTALL)
_FEWEST_TAGS = 6
_TURNED = dict(zip("ɐɔǝɟƃɓɥıᴉɾʞʃןɯɹʇʌʍʎ", "acefgghiijkllmrtvwy", strict=True))
_SOLID_CODES = re.compile(r"(?<!\d)(?:0\d\d|1[01]\d|12[0-6]){12,}(?!\d)")
_SOLID_BITS = re.compile(r"(?<![01])[01]{64,}(?![01])")
#: A capital inside or at the end of a word, after a small letter.
_ODD_CASE, _FEWEST_ODD_CASES = re.compile(r"[a-z][A-Z]"), 16
_BLANKS = re.compile(r"[ \t]")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_UNSEEN_BITS = re.compile("[\u200b-\u200f\u2060-\u2064\u202a-\u202e\ufe00-\ufe0f\ufeff\u180e\u00ad]")
_FEWEST_BITS = 64
_TWICE = re.compile(r"(?:([^\W_])\1|[\W_]+){12,}")
_QUOTED = re.compile(r"(?:=[0-9A-F]{2}){4,}")
#: Letters with a sign or a space after each.
LETTERS_APART = re.compile(r"(?<![^\W\d_])(?:[^\W\d_][ .\-_*·]){3,}[^\W\d_](?![^\W\d_])")
_CODES = (
    ("decimal", 10, re.compile(r"(?<!\d)(?:\d{2,3}[\s,;]+){11,}\d{2,3}(?!\d)")),
    ("binary", 2, re.compile(r"(?<!\d)(?:[01]{7,8}[\s,;]+){11,}[01]{7,8}(?!\d)")),
)
_HEX_MARK = re.compile(r"(?<![0-9A-Za-z])0x(?=[0-9a-fA-F]{2})|,(?=\s*0x)")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:\-]?){8,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{12,}")
#: Base64 has these for more than half of its characters; words without the spaces between them have few.
_CAPITAL = re.compile(r"[A-Z0-9]")
#: Fewest characters of base64 that is tried disguised.
_FEWEST_ODD = 32
_BASE32HEX = re.compile(r"[0-9A-Va-v]{32,}")
_FROM_HEX32 = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUV", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_BASE32 = re.compile(r"[A-Za-z2-7]{24,}")
#: ZeroMQ's alphabet of base85 in that of git.
_FROM_Z85 = str.maketrans(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
)
#: The alphabets of git (RFC 1924) and of Adobe (Ascii85).
_BASE85 = (
    (b85decode, re.compile(r"[0-9A-Za-z!#-&(-+\-;-@^_`{-~]{25,}")),
    (a85decode, re.compile(r"[!-uz]{25,}")),
    (lambda run: b85decode(run.translate(_FROM_Z85)), re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{25,}")),
)
#: Lines of uuencode: a length and at most 60 signs.
_UU = re.compile(r"(?:^|\n)((?:[!-M][ -`]{4,60}\n){1,}[!-M][ -`]{4,60})(?=\n|$)")
_BASE58 = re.compile(r"(?<![^\W_])[1-9A-HJ-NP-Za-km-z]{40,400}(?![^\W_])")
_DIGITS58 = {c: n for n, c in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_URL_SAFE = str.maketrans("-_", "+/")
_OTHER_MAGIC = (b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00")
_MOST_MEMORY = 64 << 20
_MAGIC = (b"\x1f\x8b", b"\x78\x9c", b"\x78\xda", b"\x78\x01")
#: Rings of characters in which a shift moves each by the same number; every other character stays.
_RINGS = (
    "abcdefghijklmnopqrstuvwxyz",
    "".join(map(chr, range(33, 127))),
    "".join(map(chr, range(32, 127))),
)
#: A line with fewer frequent pairs is no English; a shift must leave at least as many as `_READS`.
_STRANGE, _READS = 0.3, 0.38
#: Least share of letters and spaces of a line that was moved back.
_PLAIN = 0.85
#: Fewest characters of a line that is tried for shifts, and most lines of a text.
_SHIFTED, _MOST_LINES = 24, 32
_COMMON = "etaoinshrdlu "
#: The most frequent letter pairs of English; about half of all pairs in English text, a quarter in reversed text.
_PAIRS = (
    "th he in er an re nd on en at ou ed ha to or it is hi es ng as te ar st le nt of me se ve al ea ro io ti ce ll co "
    "ma be us om ut ay ey no ow gh ch wh"
)


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A text as it stands or as decoded.

    Attributes:
        how: encodings that were undone, outermost first; empty for the text as it stands.
        text: the decoded text; None if the bytes are not text, or were not decoded because of the size limit.
        size: bytes of the encoded run; 0 for transforms of the text as a whole.
    """

    how: tuple[str, ...]
    text: str | None
    size: int = 0


def readings(text: str) -> Iterator[DecodedText]:
    """Yield the text itself, then every distinct text encoded in it, outer layers first.

    A long encoded run that is not text gives a reading with `text=None`, so that a caller can report it as unreadable.
    """
    yield DecodedText((), text)
    layer, seen, decoded = [DecodedText((), text)], {text}, 0
    for _ in range(_DEPTH):
        following = []
        for outer in layer:
            for inner in _unwrapped(outer.text or ""):
                how = (*outer.how, *inner.how)
                if inner.text is None:
                    yield DecodedText(how, None, inner.size)
                elif inner.text not in seen:
                    seen.add(inner.text)
                    decoded += len(inner.text)
                    if decoded > _MOST_DECODED:
                        yield DecodedText((*how, "size limit"), None, inner.size)
                        return
                    following.append(DecodedText(how, inner.text, inner.size))
                    yield following[-1]
        layer = following


@lru_cache(maxsize=256)
def _unwrapped(text: str) -> tuple[DecodedText, ...]:
    return tuple(dict.fromkeys((*_substituted(text), *_transformed(text), *_encoded_runs(text))))


def _substituted(text: str) -> Iterator[DecodedText]:
    """Undo encodings that replace single characters."""
    if _PERCENT.search(text):
        yield DecodedText(("percent",), unquote_to_bytes(text.encode("utf-8", "replace")).decode("utf-8", "replace"))
    if "&" in text and (unescaped := html.unescape(text)) != text:
        yield DecodedText(("entities",), unescaped)
    if _ESCAPE.search(text):
        opened = _ESCAPE.sub(lambda m: chr(int(m[3], 8) if m[3] else int(m[1] or m[2], 16)), text)
        # A pair of surrogates becomes the character it stands for, a lone one the replacement character.
        yield DecodedText(("escapes",), opened.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    if _BRACED.search(text):
        yield DecodedText(("escapes",), _BRACED.sub(_character, text))
    if "<" in text and len(_TAG.findall(text)) >= _FEWEST_TAGS:
        yield DecodedText(("tags",), _TAG.sub("", text))
        if _NOTHING.search(text):
            yield DecodedText(("tags",), _TAG.sub("", _NOTHING.sub("", text)))
    if not text.isascii() and sum(char in _TURNED for char in text) >= _FEWEST_TURNED:
        yield DecodedText(("turned",), _upright(text))
    if _QUOTED.search(text):
        opened = _QUOTED.sub(lambda m: bytes.fromhex(m[0].replace("=", "")).decode("utf-8", "replace"), text)
        yield DecodedText(("quoted-printable",), opened)
    yield from _invisible(text)
    if _TWICE.search(text):
        yield DecodedText(("letters twice",), re.sub(r"([^\W_])\1", r"\1", text))
    if (joined := join_letters(text)) != text:
        yield DecodedText(("letters apart",), joined)
    for run in _SOLID_CODES.findall(text):
        yield DecodedText(("decimal",), "".join(chr(int(run[at : at + 3])) for at in range(0, len(run), 3)))
    for run in _SOLID_BITS.findall(text):
        yield from _bits(run)
    if len(_ODD_CASE.findall(text)) >= _FEWEST_ODD_CASES and english_likeness(text) >= _STRANGE:
        letters = [char for char in text if char.isascii() and char.isalpha()]
        for start in range(8):
            yield from _bits("".join("01"[char.isupper()] for char in letters[start:]))
            yield from _bits("".join("10"[char.isupper()] for char in letters[start:]))
    for name, base, pattern in _CODES:
        for run in pattern.findall(text):
            codes = [int(number, base) for number in re.split(r"[\s,;]+", run)]
            read = "".join(map(chr, codes))
            if max(codes) < 0x250 and sum(c.isalpha() or c == " " for c in read) >= 0.8 * len(read):
                yield DecodedText((name,), read)


def _character(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"


#: Letters printed upside down: these have no other use in a text of Latin letters.
_FEWEST_TURNED = 6
_SAME_TURNED = str.maketrans("uqpdbn", "nbdpqu")


def _upright(text: str) -> str:
    """Return a text that is printed upside down, from its end to its beginning."""
    return "".join(_TURNED.get(char, char.translate(_SAME_TURNED)) for char in reversed(text))


def _bits(run: str) -> Iterator[DecodedText]:
    """Yield the text in a row of bits: eight or seven to a character, or five to a letter, as in Bacon's cipher."""
    letters = [int(run[at : at + 5], 2) for at in range(0, len(run) - 4, 5)]
    for first in ("a", "`"):
        spelt = "".join(chr(ord(first) + code) if code < 27 else " " for code in letters)
        if english_likeness(spelt) >= _READS:
            yield DecodedText(("binary",), spelt, len(run) // 8)
    for width in (8, 7):
        count = len(run) // width
        raw = bytes(int(run[at * width : (at + 1) * width], 2) for at in range(count))
        yield from _read("binary", raw, (_FEWEST_BITS // 8, 16))


def _invisible(text: str) -> Iterator[DecodedText]:
    """Yield the texts that invisible characters stand for: two of them bits, or each of them a byte."""
    blanks = "".join(_BLANKS.findall(text))
    if blanks.count("\t") >= _FEWEST_BITS // 4:
        blank = "".join(line[len(line.rstrip(" \t")) :] for line in text.split("\n"))
        for run in (blank, "".join(blanks)) if len(blank) >= _FEWEST_BITS else ():
            yield from _bits(run.translate({32: "0", 9: "1"}))
            yield from _bits(run.translate({32: "1", 9: "0"}))
    if text.isascii():
        return
    chosen = [ord(char) for char in text if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"]
    if len(chosen) >= _FEWEST_BITS // 4 and len(set(chosen)) > 2:
        raw = bytes(code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16 for code in chosen)
        yield from _read("unseen", raw, (8, 16))
    for run in _TAGS.findall(text):
        yield DecodedText(("unseen",), "".join(chr(ord(char) - 0xE0000) for char in run))
    bits = _UNSEEN_BITS.findall(text)
    kinds = sorted(set(bits))
    if len(bits) >= _FEWEST_BITS and len(kinds) == 2:
        for one in kinds:
            number = int("".join("1" if bit == one else "0" for bit in bits[: len(bits) // 8 * 8]), 2)
            yield from _read("unseen", number.to_bytes(len(bits) // 8, "big"), (_FEWEST_BITS // 8, 16))


def join_letters(text: str) -> str:
    """Return a text with letters that stand apart joined: `p-l-e-a-s-e` becomes `please`."""
    return LETTERS_APART.sub(lambda match: re.sub(r"[ .\-_*·]", "", match[0]), text)


def _transformed(text: str) -> Iterator[DecodedText]:
    """Undo rot13 and reversal in the lines that look like English only afterwards.

    Reversal changes the letter pairs less than rot13 does, so it needs the larger gain.
    """
    for name, transform, gain in (("rot13", _rot13, 0.1), ("reversed", _reverse, 0.15)):
        lines = [
            changed if english_likeness(changed) > english_likeness(line) + gain else line
            for line in text.split("\n")
            for changed in [transform(line)]
        ]
        if (result := "\n".join(lines)) != text:
            yield DecodedText((name,), result)
    lines = text.split("\n")
    strange = [n for n, line in enumerate(lines) if len(line) >= _SHIFTED and english_likeness(line) < _STRANGE]
    for n in strange[:_MOST_LINES]:
        lines[n] = _unshifted(lines[n])
    if (result := "\n".join(lines)) != text:
        yield DecodedText(("shifted",), result)


def _rot13(line: str) -> str:
    return codecs.encode(line, "rot13")


def _reverse(line: str) -> str:
    return line[::-1]


def _unshifted(line: str) -> str:
    """Return a line with every character moved back along a ring, if that makes it read like English."""
    counts, best, most = Counter(line.lower()), line, 0.0
    for ring in _RINGS:
        size = len(ring)
        found = Counter({ring.index(char): n for char, n in counts.items() if char in ring})
        # The shift under which the most characters are frequent ones of English.
        common = [ring.index(char) for char in _COMMON if char in ring]
        scores = {by: sum(found[(at + by) % size] for at in common) for by in range(1, size)}
        for by in sorted(scores, key=scores.__getitem__)[-2:]:
            back = {char: ring[(at - by) % size] for at, char in enumerate(ring)}
            if ring.isalpha():
                back |= {char.upper(): back[char].upper() for char in ring}
            moved = "".join(back.get(char, char) for char in line)
            # Two rings can both give English letters; the right one gives spaces and no signs inside words.
            likeness, plain = english_likeness(moved), sum(char.isalpha() or char == " " for char in moved)
            if likeness >= _READS and plain >= _PLAIN * len(moved) and likeness * plain > most:
                best, most = moved, likeness * plain
    return best


@lru_cache(maxsize=256)
def english_likeness(text: str) -> float:
    """Return the share of letter pairs that are frequent in English, or 0 if there are fewer than 20 pairs."""
    pairs = Counter(pairwise(text.lower()))
    total = sum(n for (a, b), n in pairs.items() if "a" <= a <= "z" and "a" <= b <= "z")
    return sum(pairs[pair[0], pair[1]] for pair in _PAIRS.split()) / total if total >= 20 else 0.0


def _encoded_runs(text: str) -> Iterator[DecodedText]:
    """Decode runs of hex, base64, base32 and base85."""
    # In a long text the chance is larger that random bytes look like text, so a stretch must be longer.
    shortest = 10 + max(0, math.ceil(math.log(max(len(text), 1) / 256)))
    plain = _HEX_MARK.sub("", text)
    for run in dict.fromkeys((*_HEX.findall(text), *(_HEX.findall(plain) if plain != text else ()))):
        yield from _hex_run(run, shortest)
    solid = _GAPS.sub("", text)
    joined = (run for run in _BASE64.findall(solid) if len(_CAPITAL.findall(run)) * 10 >= len(run))
    for run in dict.fromkeys((*_BASE64.findall(text), *joined)):
        # The payload may follow a word that looks like base64 too, so each alignment is tried.
        for start in range(4):
            body = run[start:].translate(_URL_SAFE)
            body = body[: len(body) - (len(body) % 4 == 1)]
            raw = binascii.a2b_base64(body + "=" * (-len(body) % 4))
            yield from _read("base64", raw, (10, shortest), report=start == 0 and _looks_random(run))
        if len(run) >= _FEWEST_ODD and _looks_random(run):
            yield from _odd_base64(run, shortest)
    for run in _BASE32.findall(solid):
        if any(c in "234567" for c in run):
            for start in range(8):
                body = run.upper()[start:]
                body = body[: len(body) - (len(body) % 8 in (1, 3, 6))]
                raw = b32decode(body + "=" * (-len(body) % 8))
                yield from _read("base32", raw, (shortest, shortest))
    for run in _BASE32HEX.findall(solid):
        hexed = run.upper().translate(_FROM_HEX32)
        with suppress(binascii.Error, ValueError):
            yield from _read("base32", b32decode(hexed + "=" * (-len(hexed) % 8)), (shortest, shortest))
    for lines in _UU.findall(text):
        with suppress(binascii.Error):
            yield from _read("uuencode", b"".join(map(binascii.a2b_uu, lines.split("\n"))), (shortest, shortest))
    for run in _BASE58.findall(text):
        number = 0
        for char in run:
            number = number * 58 + _DIGITS58[char]
        yield from _read("base58", number.to_bytes((number.bit_length() + 7) // 8, "big"), (shortest, 3 * shortest))
    for decode, alphabet in _BASE85:
        for run in alphabet.findall(text):
            for start in range(5):
                with suppress(ValueError):
                    yield from _read("base85", decode(run[start:]), (shortest, shortest))


def _odd_base64(run: str, shortest: int) -> Iterator[DecodedText]:
    """Decode base64 that was disguised itself: from the end, with the other letter case, or in rot13."""
    for name, other in (("reversed", run[::-1]), ("other case", run.swapcase()), ("rot13", _rot13(run))):
        body = other.translate(_URL_SAFE)
        body = body[: len(body) - (len(body) % 4 == 1)]
        raw = binascii.a2b_base64(body + "=" * (-len(body) % 4))
        if text := _as_text(raw):
            yield DecodedText((name, "base64"), text, len(raw))


def _hex_run(run: str, shortest: int) -> Iterator[DecodedText]:
    digits = re.sub(r"[\s:\-]", "", run)
    for reading in _read("hex", binascii.unhexlify(digits), (8, shortest), report=not digits.isdigit()):
        # Numbers in a table are hex digits too; English in hex needs the digits a to f.
        if not digits.isdigit() or english_likeness(reading.text or "") >= 0.25:
            yield reading


def _read(name: str, raw: bytes, shortest: tuple[int, int], *, report: bool = False) -> Iterator[DecodedText]:
    """Yield the text in decoded bytes: the whole of them if they are text, otherwise their readable stretches.

    Args:
        name: the encoding that was undone.
        raw: the decoded bytes.
        shortest: fewest bytes of a text that fills the run, and of a readable stretch among other bytes.
        report: yield a reading without text if 48 bytes or more are not text.
    """
    how: tuple[str, ...] = (name,)
    size, cut = len(raw), False
    if raw.startswith(_MAGIC):
        inflater = zlib.decompressobj(wbits=47)
        with suppress(zlib.error):
            raw, how = inflater.decompress(raw, _MOST_INFLATED), (name, "compressed")
            cut = bool(inflater.unconsumed_tail)
    elif raw.startswith(_OTHER_MAGIC):
        opener = bz2.BZ2Decompressor() if raw.startswith(b"BZh") else lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
        with suppress(OSError, EOFError, lzma.LZMAError):
            raw, how = opener.decompress(raw, _MOST_INFLATED), (name, "compressed")
            cut = not opener.eof
    text = _as_text(raw) if len(raw) >= shortest[0] else None
    if text is None and size >= 24 and len(how) == 1 and name.startswith(("base", "hex")):
        inflater = zlib.decompressobj(wbits=-15)
        with suppress(zlib.error):
            plain = _as_text(inflater.decompress(raw, _MOST_INFLATED))
            if plain and len(plain) >= 24 and inflater.eof:
                text, how = plain, (name, "compressed")
    if text is None and report and size >= 48:
        yield DecodedText(how, None, size)
    if cut:
        yield DecodedText((*how, "size limit"), None, size)
    if text := text or _stretches(raw, shortest[1]):
        yield DecodedText(how, text, size)


def _looks_random(run: str) -> bool:
    """Return whether a base64 run mixes digits and both cases; a long path uses the letters of base64 too."""
    return not _HEX.fullmatch(run) and all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


#: Bytes by which the encoding of longer text is guessed.
_TRIAL = 64


def _as_text(raw: bytes) -> str | None:
    """Return bytes as text if they are printable UTF-8, or UTF-16 or UTF-32 of common alphabets."""
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        with suppress(UnicodeDecodeError):
            # Of random bytes, few characters at the beginning are of common alphabets.
            begin = raw[:_TRIAL].decode(encoding) if encoding != "utf-8" and len(raw) > 2 * _TRIAL else ""
            if begin and sum(char < "\u0600" for char in begin) < len(begin) // 2:
                continue
            text = raw.decode(encoding).lstrip("\ufeff")
            plain = sum(char.isprintable() or char in "\r\n\t" for char in text)
            # Random bytes often decode as UTF-16, but then to characters of many scripts.
            common = encoding == "utf-8" or sum(char < "\u0600" for char in text) >= 0.9 * len(text)
            if text and plain >= 0.9 * len(text) and common:
                return text
    return None


def _stretches(raw: bytes, shortest: int) -> str:
    """Return the readable stretches of bytes, one a line."""
    # Without its zero bytes, text in two or four bytes a letter is ASCII.
    stretches = re.findall(rb"[\t\n\r\x20-\x7e]{%d,}" % shortest, raw.replace(b"\0", b""))
    return "\n".join(stretch.decode("ascii") for stretch in stretches)
