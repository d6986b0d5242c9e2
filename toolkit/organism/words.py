"""The organism's words: concepts, their forms, and the attributes all forms of a concept share."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

# english, spanish, german, french, plural
NOUNS = """
dog perro Hund chien dogs|cat gato Katze chat cats|house casa Haus maison houses|tree árbol Baum arbre trees
book libro Buch livre books|horse caballo Pferd cheval horses|bird pájaro Vogel oiseau birds|cow vaca Kuh vache cows
chair silla Stuhl chaise chairs|door puerta Tür porte doors|window ventana Fenster fenêtre windows
apple manzana Apfel pomme apples
egg huevo Ei œuf eggs|flower flor Blume fleur flowers|star estrella Stern étoile stars|river río Fluss rivière rivers
king rey König roi kings|ship barco Schiff bateau ships|bridge puente Brücke pont bridges|key llave Schlüssel clé keys
shoe zapato Schuh chaussure shoes|garden jardín Garten jardin gardens|church iglesia Kirche église churches
mountain montaña Berg montagne mountains
"""
VERBS = """
walk walked|jump jumped|play played|cook cooked|paint painted|open opened|close closed|help helped|call called
clean cleaned
wash washed|look looked|love loved|laugh laughed|listen listened|dance danced|climb climbed|push pushed|pull pulled
kick kicked|fill filled|count counted|plant planted|visit visited
"""
COUNTRIES = """
France Paris|Spain Madrid|Germany Berlin|Italy Rome|Greece Athens|Portugal Lisbon|Austria Vienna|Poland Warsaw
Norway Oslo
Sweden Stockholm|Denmark Copenhagen|Finland Helsinki|Ireland Dublin|Hungary Budapest|Egypt Cairo|Japan Tokyo
China Beijing
Russia Moscow|Turkey Ankara|Cuba Havana|Peru Lima|Chile Santiago|Kenya Nairobi|Canada Ottawa
"""
ANTONYMS = """
hot cold|big small|fast slow|old young|rich poor|strong weak|happy sad|light dark|high low|long short|wet dry|full empty
hard soft|loud quiet|early late|near far|sharp blunt|thick thin|wide narrow|deep shallow|sweet sour|good bad
brave afraid
true false
"""
COLORS = "red blue green black white brown yellow pink gray purple orange gold".split()
PLACES = "barn market school park forest kitchen beach tower library harbor valley castle".split()
FOODS = "bread cheese soup rice honey cake salad milk beans nuts pasta jam".split()
NAMES = "Tom Anna Ben Mia Sam Lily Max Eva".split()

FORM_NAMES = {
    "noun": ("English", "Spanish", "German", "French", "plural"),
    "verb": ("present", "past"),
    "country": ("country", "capital"),
    "antonym": ("plus", "minus"),
}

# Each class of word pairs: (concept class, index of the first form, index of the second form).
PAIR_CLASSES = {
    "english-spanish": ("noun", 0, 1),
    "english-german": ("noun", 0, 2),
    "english-french": ("noun", 0, 3),
    "singular-plural": ("noun", 0, 4),
    "present-past": ("verb", 0, 1),
    "country-capital": ("country", 0, 1),
    "antonym": ("antonym", 0, 1),
}


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A meaning with several forms, all of which share one colour, place and food."""

    kind: str
    forms: tuple[str, ...]
    color: str
    place: str
    food: str

    def attributes(self) -> dict[str, str]:
        """The three attributes by name."""
        return {"color": self.color, "place": self.place, "food": self.food}


def _forms(table: str) -> Iterator[tuple[str, ...]]:
    for line in table.split("\n"):
        for entry in filter(None, line.split("|")):
            yield tuple(entry.split())


def _make_concepts() -> tuple[Concept, ...]:
    """Deal each concept its own triple of attributes; the deal is part of the organism, so its seed is fixed."""
    rng = random.Random("concept attributes")
    triples = rng.sample([(c, p, f) for c in COLORS for p in PLACES for f in FOODS], 96)
    tables = {"noun": NOUNS, "verb": VERBS, "country": COUNTRIES, "antonym": ANTONYMS}
    entries = [(kind, forms) for kind, table in tables.items() for forms in _forms(table)]
    return tuple(
        Concept(kind=kind, forms=forms, color=color, place=place, food=food)
        for (kind, forms), (color, place, food) in zip(entries, triples, strict=True)
    )


CONCEPTS = _make_concepts()


def concepts_of(kind: str) -> list[Concept]:
    """All concepts of one kind: noun, verb, country or antonym."""
    return [concept for concept in CONCEPTS if concept.kind == kind]


def word_pairs(name: str) -> list[tuple[str, str]]:
    """The 24 pairs (a, b) of one class of `PAIR_CLASSES`."""
    kind, first, second = PAIR_CLASSES[name]
    return [(concept.forms[first], concept.forms[second]) for concept in concepts_of(kind)]


def all_words() -> list[str]:
    """Every form of every concept."""
    return [form for concept in CONCEPTS for form in concept.forms]
