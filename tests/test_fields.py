"""What settings show of themselves."""

from dataclasses import dataclass, field

from toolkit.fields import ShortRepr


@dataclass(frozen=True, repr=False)
class Part(ShortRepr):
    size: int = 1


@dataclass(frozen=True, repr=False)
class Whole(ShortRepr):
    name: str
    part: Part = Part()
    others: list[int] = field(default_factory=list)


def test_settings_show_what_is_not_their_default():
    assert repr(Whole("a")) == "Whole(name='a')"
    assert repr(Whole("a", Part(2), [3])) == "Whole(name='a', part=Part(size=2), others=[3])"
