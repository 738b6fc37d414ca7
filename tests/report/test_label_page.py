"""The page for labelling: its texts are escaped by the template too, and its policy allows its own script alone."""

from __future__ import annotations

import base64
import hashlib
import re

from holdfast.report.label_page import ShownEntry, ShownSample, label_page

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_texts_ids_and_commands_are_escaped() -> None:
    sample = ShownSample(f'a"><b>{HOSTILE}', [ShownEntry(1, HOSTILE, HOSTILE)])
    text = label_page([sample], {}, f'"{HOSTILE}', HOSTILE)
    assert text.count("<script>") == text.count("</pre>") == 1
    assert "<img" not in text and "<b>h" not in text
    assert "&lt;/pre&gt;&lt;script&gt;" in text


def test_the_policy_allows_the_script_and_style_of_the_page_and_nothing_else() -> None:
    text = label_page([], {}, "d", "c")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'")
    for tag in ("script", "style"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert content
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_labels_that_are_known_are_checked() -> None:
    samples = [ShownSample("one", []), ShownSample("two", [])]
    text = label_page(samples, {"two": "no_harm"}, "d", "c")
    assert re.findall(r'name="(\w+)" value="(\w+)" checked', text) == [("two", "no_harm")]
