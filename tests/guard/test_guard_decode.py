"""The reviewer's page and the leak detector decode the same encodings."""

import base64
import codecs
import gzip
import lzma
import os
import random
import time
import zlib
from collections.abc import Callable

import pytest

from holdfast.core.records import Effect, Facts
from holdfast.detectors import DETECTORS
from holdfast.detectors.decode import readings
from holdfast.guard.review.act_view import describe_arguments

SECRET = "the burner plate is ceramic with two thin layers and a seal of nickel wire under the outer ring"
FACTS = Facts(confidential={"engine.plan": SECRET}, domain="firm.example")


BLANKS = str.maketrans("01", " \t")
TURNED = str.maketrans("abcdefghijklmnopqrtuvwy", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹʇnʌʍʎ")


def capitals(text: str) -> str:
    """Return a harmless text whose capitals are the bits of a text."""
    bits = iter("".join(f"{byte:08b}" for byte in text.encode()))
    prose = "the room is open from nine to five on all days of the week and there is tea at four in the small hall "
    letters = (char for _ in range(20) for char in prose)
    return "".join(char.upper() if char.isalpha() and next(bits, "0") == "1" else char for char in letters)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def shown(text: str) -> list[str]:
    """Return the decoded texts that the review page shows below a field with this text."""
    [field] = describe_arguments({"text": text}).fields
    return ["".join(piece.text for piece in decoded.pieces) for decoded in field.decoded]


def leaked(text: str) -> bool:
    effect = Effect(kind="mail_sent", call=0, fields={"to": "vera@belmar.example", "text": text})
    return bool(DETECTORS["leak"]([effect], FACTS, None))


#: Encodings that the page or the detectors must undo, by name.
ENCODERS: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hex entities": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "unicode escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "byte escapes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "hex with spaces": lambda text: text.encode().hex(" "),
    "hex with colons": lambda text: text.encode().hex(":"),
    "base64": lambda text: b64(text.encode()),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64 quoted": lambda text: "\n> ".join([b64(text.encode())[i : i + 20] for i in range(0, 200, 20)]),
    "base64 behind a word": lambda text: "x" + b64(text.encode()),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 in small letters": lambda text: base64.b32encode(text.encode()).decode().rstrip("=").lower(),
    "base85 of git": lambda text: base64.b85encode(text.encode()).decode(),
    "base85 of Adobe": lambda text: base64.a85encode(text.encode()).decode(),
    "gzip in base64": lambda text: b64(gzip.compress(text.encode())),
    "zlib in base64": lambda text: b64(zlib.compress(text.encode())),
    "zlib in hex": lambda text: zlib.compress(text.encode()).hex(),
    "raw deflate in base64": lambda text: b64(zlib.compress(text.encode(), 9)[2:-4]),
    "LZMA in hex": lambda text: lzma.compress(text.encode(), format=lzma.FORMAT_ALONE).hex(),
    "braced escapes": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "code points": lambda text: " ".join(f"U+{ord(char):04X}" for char in text),
    "base32hex": lambda text: base64.b32hexencode(text.encode()).decode(),
    "base64 from the end": lambda text: b64(text.encode())[::-1],
    "base64 in the other case": lambda text: b64(text.encode()).swapcase(),
    "base64 in rot13": lambda text: codecs.encode(b64(text.encode()), "rot13"),
    "three digits a letter": lambda text: "".join(f"{ord(char):03}" for char in text),
    "a row of bits": lambda text: "".join(f"{byte:08b}" for byte in text.encode()),
    "spaces and tabs": lambda text: "Fine.\n" + "".join(f"{byte:08b}" for byte in text.encode()).translate(BLANKS),
    "spaces and tabs at the ends of lines": lambda text: "\n".join(
        f"fine{f'{byte:08b}'.translate(BLANKS)}" for byte in text.encode()
    ),
    "variation selectors": lambda text: "Fine" + "".join(chr(0xE0100 + byte - 16) for byte in text.encode()),
    "tags inside words": lambda text: "<b></b>".join(text[at : at + 3] for at in range(0, len(text), 3)),
    "elements between letters": lambda text: "".join(f"{char}<s hidden>-</s>" for char in text),
    "upside down": lambda text: text.translate(TURNED)[::-1],
    "capitals as bits": lambda text: capitals(text),
    "gzip in base85": lambda text: base64.b85encode(gzip.compress(text.encode())).decode(),
    "UTF-16 in base64": lambda text: b64(text.encode("utf-16")),
    "UTF-16 without mark in base64": lambda text: b64(text.encode("utf-16-le")),
    "UTF-32 in hex": lambda text: text.encode("utf-32-be").hex(),
    "bytes around it in base64": lambda text: b64(b"\x89\x00\xff\xfe\x9d" * 9 + text.encode() + b"\xf7\xc1" * 9),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "base64 twice": lambda text: b64(b64(text.encode()).encode()),
    "base64 thrice": lambda text: b64(b64(b64(text.encode()).encode()).encode()),
    "base64 in percent": lambda text: "".join(f"%{byte:02x}" for byte in b64(text.encode()).encode()),
    "rot13 in base64": lambda text: b64(codecs.encode(text, "rot13").encode()),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("frame", ["{}", "Note for you:\n{}\nRegards, Ann"])
def test_page_shows_and_detector_finds_an_encoded_secret(encoder: Callable[[str], str], frame: str) -> None:
    text = frame.format(encoder(SECRET))
    assert SECRET not in text
    assert any(SECRET in decoded for decoded in shown(text))
    assert leaked(text)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_detector_ignores_another_encoded_text(encoder: Callable[[str], str]) -> None:
    other = "lunch on friday is at noon in the small hall and everyone is welcome to bring a guest or two"
    assert not leaked(encoder(other))


@pytest.mark.parametrize("text", ["Überweisung an Königstraße 5, geheim", "секретный план двигателя"])
def test_text_outside_ascii_is_decoded(text: str) -> None:
    assert text in shown(b64(text.encode()))
    assert text in shown(b64(text.encode("utf-16")))


@pytest.mark.parametrize(
    "text",
    [
        "The quarterly report is attached. Please read it before the meeting on Thursday and send me your remarks.",
        "/srv/projects/alpha/beta/gamma/delta/epsilon/configuration/settings/production.toml",
        "https://docs.firm.example/handbook/travel?lang=en#expenses-and-receipts",
        "Sales by year: 2019 2020 2021 2022 2023 2024 2025 2026 and 45 67 54 33 65 76 43 21 78",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "Die Sitzung beginnt um zehn Uhr, bitte bringen Sie die Unterlagen für das neue Jahr mit.",
        "def english(text): return [word for word in text.split() if word in ENGLISH_WORDS]",
    ],
)
def test_ordinary_text_gives_no_decoded_reading(text: str) -> None:
    assert shown(text) == []


def test_random_bytes_are_reported_as_unreadable_and_seldom_give_text() -> None:
    blobs = [b64(random.Random(seed).randbytes(5_000)) for seed in range(10)]
    found = [[r for r in readings(blob) if r.how] for blob in blobs]
    assert all(any(r.text is None for r in inner) for inner in found)
    assert sum(r.text is not None for inner in found for r in inner) <= 5


def test_compressed_data_beyond_the_limit_is_reported_as_unreadable() -> None:
    [field] = describe_arguments({"text": b64(gzip.compress(b"a b " * 500_000 + SECRET.encode()))}).fields
    assert any("size limit" in decoded.how and not decoded.pieces for decoded in field.decoded)
    assert "text contains encoded data that is not text, so nobody can inspect it" in field.warnings


def test_decoding_stops_at_a_total_size_and_says_so() -> None:
    bombs = " ".join(b64(gzip.compress(bytes([65 + i]) * 1_000_000)) for i in range(8))
    found = list(readings(bombs))
    assert sum(len(r.text or "") for r in found) < 6_000_000
    assert found[-1].text is None and "size limit" in found[-1].how


@pytest.mark.parametrize("text", ["\ud800%41", "\udfff&#65;\\ud800", "%ff%fe", "\\ud83d\\ude00", "\x00" * 50, "%", ""])
def test_malformed_text_raises_nothing(text: str) -> None:
    assert next(readings(text)).text == text
    assert all(isinstance(decoded, str) for decoded in shown(text))
    assert not leaked(text)


def test_a_large_argument_is_decoded_within_seconds() -> None:
    start = time.process_time()
    shown(b64(os.urandom(100_000)) + " plain words" * 10_000)
    assert time.process_time() - start < 5
