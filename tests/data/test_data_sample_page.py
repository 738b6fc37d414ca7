"""The sample page in a real browser: marked by keys and by mouse, saved, and read back."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from holdfast.core.records import Example, Provenance, RunCard
from holdfast.core.store import RunFolder
from holdfast.data.quality.page import read_marks, summarise_marks, write_page

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_human_marks_the_page(tmp_path: Path) -> None:
    made = Provenance(recipe="toy", teacher="toy", seed=0)
    run = RunFolder(tmp_path / "set")
    run.append(
        "examples", [Example(id=f"e{n}", kind="document", text=f"{HOSTILE} {n}", provenance=made) for n in range(3)]
    )
    run.finish(RunCard(key="k", kind="data", made="now", holdfast="0", code="0", inputs={}))
    write_page(tmp_path / "set", tmp_path / "page.html")
    complaints: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto((tmp_path / "page.html").as_uri())
        page.locator("article").first.focus()
        page.keyboard.press("1")
        page.keyboard.press("3")
        page.locator("article").nth(2).get_by_label("flawed").check()
        page.locator("article").nth(2).get_by_label("Note").fill("3 times too long")
        assert page.locator("#count").text_content() == "3 of 3 marked"
        with page.expect_download() as download:
            page.get_by_role("button", name="Save marks").click()
        download.value.save_as(tmp_path / "marks.json")
        assert page.title() == "set: a sample to mark" and complaints == []
        browser.close()
    said = summarise_marks(read_marks(tmp_path / "marks.json"), tmp_path / "set")
    assert {mark: shares[0] for mark, shares in said.shares.items()} == {"good": 1, "flawed": 1, "bad": 1}
    assert said.notes[0].note == "3 times too long"
