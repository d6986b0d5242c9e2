import pytest

from toolkit.reports.theme import PALETTE, style_sheet


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("role", ["ink", "muted", "first", "second", "third", "fourth"])
def test_text_can_be_read_on_paper_in_both_themes(role: str, theme: int) -> None:
    assert contrast(PALETTE[role][theme], PALETTE["paper"][theme]) >= 4.5


def test_every_role_has_its_variable_in_both_themes() -> None:
    light, dark = style_sheet().split("@media (prefers-color-scheme: dark)")
    for role, (on_white, on_black) in PALETTE.items():
        assert f"--{role}: {on_white};" in light
        assert f"--{role}: {on_black};" in dark
