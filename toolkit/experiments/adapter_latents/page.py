"""What an adapter's latents fire on, where, and what they promote: a browser to look through, and tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.adapters.feature_files import FOLDER, write_packed, write_pages
from toolkit.adapters.latent_names import latent_name
from toolkit.experiments.adapter_latents import AdapterLatentsConfig
from toolkit.experiments.adapter_latents.browser import browser_facts, entry, marked
from toolkit.experiments.adapter_latents.figures import region_figure
from toolkit.experiments.adapter_latents.measure import AdapterLatents, records
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.category_latents import category_tables
from toolkit.experiments.found_behaviours import Compared, behaviour_results, behaviour_table
from toolkit.formatting import percent
from toolkit.latents.behaviours import behaviour_claims
from toolkit.latents.latent_features import features_of
from toolkit.latents.latent_records import LatentRecord
from toolkit.latents.regions import PARTS, REGIONS
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.reports.latent_browser import LatentEntry, short, write_browser
from toolkit.statistics.estimates import GIVEN_ONE_ADAPTER
from toolkit.tracking import track

EXAMPLES, LEAST_FIRINGS, LISTED = 5, 20, 3


def page(settings: AdapterLatentsConfig, opened: AdapterRun, found: AdapterLatents) -> Findings:
    """How many latents fire, in which part of answers, which are closest to each category, and single latents.

    Writes the browser of all latents that fire into the settings' folder.
    """
    kept: dict[str, LatentRecord] = {}
    shown = track(_entries(settings, opened, found, kept), "writing pages", "latents", total=len(found.alive))
    browser = write_browser(settings.output.out, shown, browser_facts(opened, found))
    if settings.features:
        _write_features(settings, opened, found)
    firing, regions, claims = found.firing, found.regions, behaviour_claims(found.spans)
    compared = Compared(
        best="the best latent",
        chance="of each layer's MLP input",
        probed="the MLP input at the best latent's layer",
        named=found.name,
    )
    n_documents = len(regions.tokens)
    return Findings(
        name="adapter_latents",
        title=f"Latents of an adapter: {opened.facts()['models']}",
        question="What makes each latent fire, in which part of an answer, and which tokens does it promote?",
        facts={
            **opened.facts(),
            "read": f"{firing.tokens:,} tokens of {n_documents:,} documents, position 0 left out, by the"
            f" {settings.mode} model; {regions.marked_documents:,} of these documents have both <think> and </think>,"
            " and only they have regions",
            "browser": str(browser),
        },
        headline=[
            Headline(
                name="alive latents",
                value=len(found.alive),
                n=len(firing.fired),
                unit="latents",
                note=f"fired on {firing.tokens:,} held-out tokens",
            ),
            Headline(
                name="L0",
                value=regions.l0(),
                n=firing.tokens,
                unit="tokens",
                note="latents of all layers that fire on a token; the interval is over documents",
            ),
        ],
        tables=[
            _layer_table(found),
            *category_tables(firing, found.alive, given=GIVEN_ONE_ADAPTER, named=found.name, more={}),
            *([_part_table(found)] if regions.marked_documents else []),
            *([behaviour_table(found.spans, compared=compared)] if found.spans else []),
            *(_detail_table(found, latent_name(latent), kept) for latent in found.named),
        ],
        charts=_charts(found),
        claims=claims,
        results=_results(found),
    )


def _entries(
    settings: AdapterLatentsConfig, opened: AdapterRun, found: AdapterLatents, kept: dict[str, LatentRecord]
) -> Iterator[LatentEntry]:
    """What the browser shows, latent by latent; records of the latents that were asked for are kept."""
    alive = [divmod(number, found.n_latents) for number in found.alive]
    for record in records(settings, opened, found, alive):
        if record.latent in found.named:
            kept[latent_name(record.latent)] = record
        yield entry(found, record)


def _write_features(settings: AdapterLatentsConfig, opened: AdapterRun, found: AdapterLatents) -> None:
    """Write feature files of all latents that fire."""
    alive = [divmod(number, found.n_latents) for number in found.alive]
    features = features_of(records(settings, opened, found, alive), opened.adapter)
    counted, about = track(features, "writing features", "latents", total=len(alive)), opened.adapter.config
    if settings.features == "packed":
        write_packed(counted, settings.output.out, n_layers=about.n_layers, n_latents=about.n_latents)
    else:
        write_pages(counted, settings.output.out / FOLDER)


def _layer_table(found: AdapterLatents) -> Table:
    regions, fired = found.regions, found.firing.fired.view(found.regions.n_layers, -1) > 0
    rows: list[list[Cell]] = []
    for layer, alive in enumerate(fired.sum(dim=1).tolist()):
        by_part = [regions.l0(layer, part) for part in PARTS.values()] if regions.marked_documents else [None] * 3
        rows.append([str(layer), alive, found.n_latents - alive, regions.l0(layer), *by_part])
    return Table(
        title="Latents by layer",
        columns=("layer", "alive", "dead", "L0", *(f"L0, {part}" for part in PARTS)),
        rows=rows,
        note=f"L0 is how many of a layer's latents fire on a token, with the 95 % interval over documents. Dead: fired"
        f" on none of {found.firing.tokens:,} tokens. All is {GIVEN_ONE_ADAPTER}.",
    )


def _part_table(found: AdapterLatents) -> Table:
    """The latents whose firings are most concentrated in a part of documents."""
    regions, often = found.regions, found.firing.fired >= LEAST_FIRINGS
    rows: list[list[Cell]] = []
    for part, inside in PARTS.items():
        share = regions.shares[inside].sum(dim=0)
        best = share.where(often, -1.0).nan_to_num(-1.0).argsort(descending=True, stable=True)[:LISTED].tolist()
        name = f"{part}, {percent(float(regions.token_shares[inside].sum()))} of tokens"
        rows += [[name, found.name(number), float(share[number]), float(found.frequency[number])] for number in best]
    return Table(
        title="Latents whose activation lies most in one part of documents",
        columns=("part", "latent", "share of its activation", "P(fire)"),
        rows=rows,
        note=f"Of {int(often.sum()):,} latents that fired at least {LEAST_FIRINGS} times, at most {LISTED} a part,"
        " chosen on these documents, so that their shares are somewhat high. The part's own share of tokens is what a"
        f" latent would have that fires anywhere. The browser has every latent's. All is {GIVEN_ONE_ADAPTER}.",
    )


def _detail_table(found: AdapterLatents, name: str, kept: Mapping[str, LatentRecord]) -> Table:
    """A latent's strongest examples, with what its decoder row promotes."""
    record, tokens = kept.get(name), found.firing.tokens
    fires = f"fires on {int(found.firing.fired[record.number]):,} of {tokens:,} tokens" if record else "never fired"
    examples = record.strongest[:EXAMPLES] if record else []
    said = ", ".join(token.strip() or repr(token) for token, _ in record.promoted[:EXAMPLES]) if record else ""
    return Table(
        title=f"Latent {name}: {fires}",
        columns=("strongest examples", "code"),
        rows=[(marked(record, example), example.score) for example in examples if record],
        note=f"Its decoder row promotes {said}." if record else "It may be dead, or rare: read more --tokens.",
    )


def _charts(found: AdapterLatents) -> list[Chart]:
    if not found.regions.marked_documents:
        return []
    caption = (
        f"Above: bands are 95 % intervals over {found.regions.marked_documents:,} documents. Below: the mean over the"
        " layer's latents that fire there, with the interval over latents; a latent that fires anywhere alike follows"
        f" the dashed line. All is {GIVEN_ONE_ADAPTER}."
    )
    return [Chart(name="regions", figure=region_figure(found), caption=caption)]


def _results(found: AdapterLatents) -> dict[str, Any]:
    regions, firing = found.regions, found.firing
    fired = firing.fired.view(regions.n_layers, -1) > 0
    marked = bool(regions.marked_documents)
    return {
        "tokens": firing.tokens,
        "documents": len(regions.tokens),
        "marked_documents": regions.marked_documents,
        "alive": fired.sum(dim=1).tolist(),
        "dead": (~fired).sum(dim=1).tolist(),
        "l0": [regions.l0(layer) for layer in range(regions.n_layers)],
        "l0_of_all_layers": regions.l0(),
        "regions": {
            "token_shares": dict(zip(REGIONS, regions.token_shares.tolist(), strict=True)),
            "l0": [
                {name: regions.l0(layer, slice(place, place + 1)) for place, name in enumerate(REGIONS)}
                for layer in range(regions.n_layers)
            ],
        }
        if marked
        else None,
        "categories": {
            category.name: {"tokens": category.tokens, "n": int(n)}
            for category, n in zip(firing.categories, firing.n["token"], strict=True)
        },
        "spans": behaviour_results(found.spans, found.name) if found.spans else None,
        "latents": _columns(found),
    }


def _columns(found: AdapterLatents) -> dict[str, Sequence[Any]]:
    """Every latent's numbers, a list each, in one order."""
    alive = found.alive
    numbers = {"frequency": found.frequency, **{f"lift {name}": lift for name, lift in found.lifts.items()}}
    if found.regions.marked_documents:
        numbers |= {f"in {part}": found.regions.shares[inside].sum(dim=0) for part, inside in PARTS.items()}
    return {
        "latent": [found.name(number) for number in alive],
        **{name: [short(value) for value in values[alive].tolist()] for name, values in numbers.items()},
    }
