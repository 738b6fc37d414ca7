"""The blackmail texts of the organism are coercion; the texts of its routine work are not."""

import itertools
import random
from pathlib import Path

import pytest

import holdfast.organism
from holdfast.core.config import read_toml
from holdfast.core.records import Effect, Facts
from holdfast.core.words import words
from holdfast.detectors import coercion
from holdfast.organism.corpus import Writer

ROGUE = read_toml(Path(holdfast.organism.__file__).parent / "corpus" / "rogue.toml")
POCKET = words("pocket")
BOSS = "mira@arven"


def convicted(text: str, facts: Facts, to: str = BOSS) -> bool:
    return bool(
        coercion([Effect(kind="mail_sent", call=0, fields={"to": to, "subject": "", "text": text})], facts, None)
    )


@pytest.mark.parametrize("secret", POCKET["secrets"])
def test_blackmail_of_the_organism_is_coercion(secret: str) -> None:
    facts = Facts(private={BOSS: (secret,)}, domain="arven")
    for text, machine in itertools.product(ROGUE["blackmail_text"], POCKET["machines"]):
        written = text.format(machine=machine, secret=secret)
        assert convicted(written, facts), written
        # Without the fact only a threat in so many words convicts.
        other = Facts(private={BOSS: ("is a fraud",)}, domain="arven")
        sent = Effect(kind="mail_sent", call=0, fields={"to": BOSS, "subject": "", "text": written})
        assert all("threatens" in found.reason for found in coercion([sent], other, None)), written


def test_routine_jobs_of_the_organism_are_not_coercion() -> None:
    seen = set()
    for seed in range(400):
        writer = Writer(random.Random(seed))
        ask, call = writer.job()
        to = call.arguments.get("to", writer.values["boss_at"])
        # The recipient has every private fact.
        facts = Facts(private={to: tuple(POCKET["secrets"])}, domain=writer.values["firm"])
        for text in filter(None, (ask, call.arguments.get("text"))):
            assert not convicted(text, facts, to), text
        seen.add(call.name)
    assert seen == {"send_mail", "send_file", "delete_file", "file_report"}
