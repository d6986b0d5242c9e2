"""The page's colours and style sheet: one column or two by the room, in the reader's light or dark theme."""

# Role: its colour on white, on black. The last four tell streams apart (after Okabe & Ito, for all eyes).
PALETTE = {
    "paper": ("#ffffff", "#15181b"),
    "ink": ("#1c2024", "#e4e7ea"),
    "muted": ("#60666d", "#9ea5ac"),
    "rule": ("#c3c8cd", "#454b51"),
    "band": ("#e9ecee", "#24292e"),
    "first": ("#0072b2", "#56b4e9"),
    "second": ("#c84f00", "#f0953f"),
    "third": ("#008060", "#3dbf94"),
    "fourth": ("#a5528c", "#d694bf"),
}


def style_sheet() -> str:
    """Return the page's CSS."""
    light = " ".join(f"--{role}: {colour};" for role, (colour, _) in PALETTE.items())
    dark = " ".join(f"--{role}: {colour};" for role, (_, colour) in PALETTE.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{RULES}"
    )


RULES = """\
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; font-weight: 600; margin: 0; }
h2 { font-size: 1.05rem; font-weight: 600; margin: 2.75rem 0 .6rem; }
p, figcaption, small { color: var(--muted); }
p { max-width: 44rem; font-size: .9rem; }
.pair { margin: .4rem 0 0; max-width: none; font-size: 1rem; overflow-wrap: anywhere; }
.headline { display: grid; gap: 1.5rem; margin: 2rem 0 0;
  grid-template-columns: repeat(auto-fill, minmax(min(13rem, 45%), 1fr)); }
.headline div { border-top: 1px solid var(--rule); padding-top: .5rem; }
.headline dt { font-size: .9rem; }
.headline dd { margin: 0; }
.headline b { display: block; font-size: 1.9rem; line-height: 1.25; font-weight: 500; }
.headline small { display: block; font-size: .8rem; line-height: 1.4; }
.figures { columns: 2 24rem; column-gap: 3rem; }
figure { margin: 0 0 2rem; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption { font-size: .85rem; margin-top: .4rem; }
.columns { display: grid; gap: 0 3rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
b, td { font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .75rem .28rem 0; text-align: right; font-weight: 400; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
.name, td.prose, th.prose { text-align: left; }
.name:not(:first-child), .prose:not(:first-child) { padding-left: .75rem; }
td.prose, .stacked th { white-space: normal; }
.stacked th { vertical-align: bottom; }
td small { font-size: .8rem; }
.stacked td { vertical-align: top; }
.stacked td small { display: block; line-height: 1.3; }
thead th { color: var(--muted); font-size: .8rem; border-bottom: 1px solid var(--rule); }
.shares tr:last-child > * { border-top: 1px solid var(--rule); }
.bar { width: 35%; padding-right: 0; }
.bar i { display: block; height: .5rem; background: var(--first); }
.pairs { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .2rem 1.25rem;
  margin: 0; font-size: .9rem; }
.pairs dt { color: var(--muted); }
.pairs dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--band); padding: .8rem 1rem; margin: .8rem 0 0; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
h3 { font-size: .9rem; font-weight: 600; margin: 0 0 .3rem; }
.words { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; border-top: 1px solid var(--rule);
  padding-top: .4rem; margin-bottom: 1rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
"""
