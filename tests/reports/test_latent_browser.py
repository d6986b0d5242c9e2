import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from headless_chromium import clicked, needs_chromium

from toolkit.reports import latent_browser
from toolkit.reports.latent_browser import BrowserFacts, Column, Example, LatentEntry, lift_columns, write_browser

EVIL = "</script><script>document.title='evil'</script><b>"
COLUMNS = (
    Column(key="tag", title="tag", kind="text"),
    Column(key="nrn", title="NRN", kind="thousandths"),
    Column(key="cosine", title="cosine", kind="thousandths"),
    Column(key="nu", title="ν", kind="thousandths"),
    Column(key="frequency", title="frequency", kind="percent"),
    *lift_columns(["wait", "so"]),
)
ABOUT = BrowserFacts(
    title="Latents <of> a run",
    subtitle="What fires?",
    facts={"models": "base & distilled"},
    columns=COLUMNS,
    sort="nrn",
    hint="a token",
)

Open = Callable[..., str]


def latent(index: int, nrn: float, promoted: dict[str, object] | None = None, **changes: object) -> LatentEntry:
    """A latent that fires on its own word."""
    word = f"word{index}"
    example = Example(tokens=["so ", word, ", then"], activations=[0.0, 8.0, 2.0], peak=1, document="doc 5")
    weak = Example(tokens=[word, " again"], activations=[0.5, 0.0], peak=0, document="doc 6")
    numbers: dict[str, object] = {
        "tag": "shared", "nu": float("nan"), "cosine": 0.25, "frequency": 0.01, "lifts": {"wait": 2.0, "so": 0.5},
    }  # fmt: skip
    statistics = {"nrn": nrn} | numbers | changes
    lifts = {f"lift:{category}": lift for category, lift in statistics.pop("lifts").items()}
    return LatentEntry(
        latent=index,
        statistics=statistics | lifts,
        examples=[example],
        quantile_samples=[("lowest quarter", [weak])],
        promoted=promoted or {"base": [(f"up{index}", 3.0)], "distilled": [("Wait", 12.25)]},
        suppressed={"base": [("down", -3.0)], "distilled": [("no", -1.5)]},
    )


@pytest.fixture
def entries() -> list[LatentEntry]:
    return [
        latent(3, 0.5, frequency=0.002),
        latent(12, 0.9, tag="distilled-only", nu=0.125, lifts={"wait": 55.0, "so": 0.1}),
        latent(40, 0.1, tag="base-only", nu=0.75, frequency=0.3, lifts={"wait": 0.0, "so": 7.0}),
        latent(41, float("nan"), promoted={"base": [(EVIL, 1.0)], "distilled": [(EVIL, 1.0)]}, tag=EVIL),
    ]


def listed(dom: str) -> list[int]:
    """The latents of the list, in its order."""
    return [int(index) for index in re.findall(r'<tr><td><a href="[^"]*">(\d+)</a>', dom)]


def viewed(dom: str) -> str:
    """The words of the part that scripts write."""
    view = dom[dom.index('<div id="view">') : dom.index('<script type="application/json"')]
    return " ".join(re.sub("<[^>]*>", " ", view).split())


@needs_chromium
def test_the_page_opens_with_all_latents_by_nrn(entries: list[LatentEntry], tmp_path: Path, open_page: Open) -> None:
    dom = open_page(write_browser(tmp_path, entries, ABOUT))
    assert listed(dom) == [12, 3, 40, 41]
    assert "4 of 4 latents" in dom
    assert "12 distilled-only 0.900 0.250 0.125 1 % 55.0 0.100 word12 up12 Wait" in viewed(dom)
    assert "Latents &lt;of&gt; a run" in dom
    assert "base &amp; distilled" in dom


@needs_chromium
@pytest.mark.parametrize(
    ("state", "order"),
    [
        ("#sort=frequency&desc=1", [40, 12, 41, 3]),
        ("#sort=nrn&desc=0", [40, 3, 12, 41]),
        ("#sort=lift%3Await&desc=1", [12, 3, 41, 40]),
        ("#sort=nu&desc=0&q=only", [12, 40]),
        ("#q=WORD40", [40]),
        ("#q=3", [3]),
        ("#q=wait+shared", [3]),
        ("#q=nowhere", []),
        ("#q=frequency<=0.2%", [3]),
        ("#q=lift:wait>1+nrn<0.8", [3]),
        ("#q=nrn=0.9", [12]),
        ("#q=x>1", []),
    ],
)
def test_the_hash_sorts_and_searches(
    state: str, order: list[int], entries: list[LatentEntry], tmp_path: Path, open_page: Open
) -> None:
    dom = open_page(write_browser(tmp_path, entries, ABOUT), state)
    assert listed(dom) == order
    assert f"{len(order)} of 4 latents" in dom


@needs_chromium
def test_a_latent_shows_examples_lens_and_lifts(entries: list[LatentEntry], tmp_path: Path, open_page: Open) -> None:
    dom = open_page(write_browser(tmp_path, entries, ABOUT), "#latent=12")
    text = viewed(dom)
    assert listed(dom) == []
    for said in (
        "Latent 12, distilled-only", "NRN 0.900", "ν 0.125", "lift: wait 55.0", "Logit lens, base promotes up12 3.00",
        "suppresses down -3.00", "Logit lens, distilled promotes Wait 12.3", "Top examples (1) 8.00 so word12 , then",
        "lowest quarter (1) 0.500 word12 again",
    ):  # fmt: skip
        assert said in text, said
    spans = re.findall(r'<span style="--strength: (\d+)%" title="([\d.]+)" class="([^"]+)">([^<]+)</span>', dom)
    assert spans == [
        ("55", "8.00", "fires peak", "word12"),
        ("20", "2.00", "fires", ", then"),
        ("11", "0.500", "fires peak", "word12"),
    ]


@needs_chromium
def test_a_reader_sorts_searches_opens_and_goes_on(entries: list[LatentEntry], tmp_path: Path, open_page: Open) -> None:
    page = write_browser(tmp_path, entries, ABOUT)
    sort, search, opened = (
        "[...document.querySelectorAll('th a')].find((link) => link.textContent === 'frequency').click()",
        "search.value = 'only'; search.dispatchEvent(new Event('input'))",
        "document.querySelector('tbody a').click()",
    )
    following = "[...document.querySelectorAll('nav a')].at(-1).click()"
    assert listed(open_page(clicked(page, sort))) == [40, 12, 41, 3]
    assert listed(open_page(clicked(page, sort, sort))) == [3, 12, 41, 40]
    assert "Latent 12, distilled-only" in viewed(open_page(clicked(page, sort, sort, search, opened)))
    assert "Latent 40, base-only" in viewed(open_page(clicked(page, sort, sort, search, opened, following)))


@needs_chromium
def test_text_is_never_markup(entries: list[LatentEntry], tmp_path: Path, open_page: Open) -> None:
    page = write_browser(tmp_path, entries, ABOUT)
    for state in ("#sort=nrn", "#latent=41"):
        dom = open_page(page, state)
        assert "<title>Latents &lt;of&gt; a run</title>" in dom
        assert "&lt;/script&gt;&lt;script&gt;document.title='evil'&lt;/script&gt;&lt;b&gt;" in dom


@needs_chromium
def test_a_latent_that_is_not_there_is_named_with_the_range(
    entries: list[LatentEntry], tmp_path: Path, open_page: Open
) -> None:
    text = viewed(open_page(write_browser(tmp_path, entries, ABOUT), "#latent=7"))
    assert "Latent 7 is not on this page, which has 4 latents from 3 to 41." in text


@needs_chromium
def test_many_latents_lie_beside_the_page_and_are_loaded_when_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_page: Open
) -> None:
    monkeypatch.setattr(latent_browser, "INLINE_BYTES", 20_000)
    page = write_browser(tmp_path, (latent(index, index / 300) for index in range(300)), ABOUT)
    assert [path.name for path in sorted((tmp_path / "latents").iterdir())] == [f"{n:04d}.js" for n in range(5)]
    assert "then" not in page.read_text(encoding="utf-8").split('id="data"')[1].split("</script>")[0]
    dom = open_page(page)
    assert len(listed(dom)) == 200
    assert "Show 100 more" in dom
    assert len(listed(open_page(clicked(page, "document.querySelector('button').click()")))) == 300
    assert "8.00 so word131 , then" in viewed(open_page(page, "#latent=131"))
    (tmp_path / "latents" / "0002.js").unlink()
    assert "latents/0002.js is missing: it belongs beside this page" in viewed(open_page(page, "#latent=131"))


def test_files_of_a_larger_browser_before_do_not_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(latent_browser, "INLINE_BYTES", 20_000)
    write_browser(tmp_path, [latent(index, 0.5) for index in range(300)], ABOUT)
    write_browser(tmp_path, [latent(index, 0.5) for index in range(128)], ABOUT)
    assert len(list((tmp_path / "latents").iterdir())) == 2
    write_browser(tmp_path, [latent(1, 0.5)], ABOUT)
    assert list((tmp_path / "latents").iterdir()) == []


def test_the_data_are_strict_json_with_the_same_content(entries: list[LatentEntry], tmp_path: Path) -> None:
    text = write_browser(tmp_path, entries, ABOUT).read_text(encoding="utf-8")
    data, shard = (
        json.loads(re.search(f'id="{name}">(.*?)</script>', text).group(1), parse_constant=pytest.fail)
        for name in ("data", "shard0")
    )
    assert data["columns"]["nrn"] == [0.5, 0.9, 0.1, None]
    assert data["columns"]["nu"] == [None, 0.125, 0.75, None]
    assert data["columns"]["lift:wait"] == [2.0, 55.0, 0.0, 2.0]
    assert shard[1]["examples"] == [[["so ", "word12", ", then"], [0.0, 8.0, 2.0], 1, "doc 5"]]
    assert shard[3]["promoted"]["base"] == [[EVIL, 1.0]]


@needs_chromium
def test_a_browser_without_latents_says_so(tmp_path: Path, open_page: Open) -> None:
    assert "0 of 0 latents" in open_page(write_browser(tmp_path, [], ABOUT))


@needs_chromium
def test_latents_of_layers_have_names_and_statistics_of_their_own(tmp_path: Path, open_page: Open) -> None:
    columns = (
        Column(key="layer", title="layer", kind="count"),
        Column(key="in answer", title="in answer", kind="percent"),
        Column(key="thinking 10", title="thinking 10", kind="percent", listed=False),
    )
    about = replace(ABOUT, columns=columns, sort="layer")
    entries = [
        replace(
            latent(index, 0.5),
            latent=f"{layer}/{index}",
            statistics={"layer": layer, "in answer": share, "thinking 10": 0.125},
        )
        for layer, index, share in ((2, 5, 0.5), (10, 3, float("nan")), (2, 40, 0.25))
    ]
    page = write_browser(tmp_path, entries, about)

    def names(state: str = "") -> list[str]:
        return re.findall(r'<tr><td><a href="[^"]*">(\d+/\d+)</a>', open_page(page, state))

    assert names() == ["10/3", "2/5", "2/40"]
    assert names("#sort=latent&desc=0") == ["2/5", "2/40", "10/3"]
    assert names("#q=layer=2+in-answer>=30%") == ["2/5"]
    assert names("#q=10/3") == ["10/3"]
    opened = viewed(open_page(page, "#latent=2%2F40"))
    assert "Latent 2/40 layer 2 in answer 25 % thinking 10 12.5 %" in opened
    assert "thinking 10" not in viewed(open_page(page))
    assert "Latent 2/6 is not on this page, which has 3 latents from 2/5 to 10/3." in viewed(
        open_page(page, "#latent=2/6")
    )
