"""Make the two files of facts about nouns again from WordNet 3.0.

    apt-get download wordnet-base    # then: dpkg -x EACH.deb ROOT
    pip install -r requirements.txt
    python .tools/make_wordnet.py ROOT

ROOT is the folder the Debian package was unpacked into. `imgsearch/data/imagenet.tsv` gets the name and the
hypernyms of each ImageNet class, in the order of an ImageNet classifier's outputs (`match_classes.py` fills in its
terms); `tests/quality/nouns.tsv.xz` gets the concrete nouns of English with their senses and hypernyms, as
`tests/quality/wordnet.py` reads them.
"""

import lzma
import sys
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from open_clip import IMAGENET_CLASSNAMES

ROOT = Path(__file__).resolve().parent.parent
LICENCE = (
    "# Made by .tools/make_wordnet.py from WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved.\n"
    "# Provided under the WordNet 3.0 licence: https://wordnet.princeton.edu/license-and-commercial-use\n"
)
TOO_GENERAL = """
    entity, physical entity, abstraction, thing, object, physical object, whole, unit, artifact, matter, substance,
    solid, living thing, organism, causal agent, instrumentality, psychological feature, attribute, group, relation,
    measure, process, communication, event, act, state, part, content, message
"""
# The lexicographer files of what a photo can show, by their numbers in the data file.
CONCRETE = {
    "05": "animal",
    "06": "artifact",
    "08": "body",
    "10": "communication",
    "13": "food",
    "14": "group",
    "15": "location",
    "17": "object",
    "18": "person",
    "19": "phenomenon",
    "20": "plant",
    "21": "possession",
    "25": "shape",
    "27": "substance",
}
WITHOUT_NAMES = {"14", "15", "18"}  # files whose proper names (Fox, Reading) would be mistaken for nouns
TOPS = "03"  # the roots of the files above (animal, plant, person, food) and of the abstract ones


class Synset(NamedTuple):
    file: str
    lemmas: list[str]
    hypernyms: list[str]  # their ids, nearest first as WordNet lists them
    is_instance: bool  # a proper name: Saturn, Paris


def read_synsets(path: Path) -> dict[str, Synset]:
    """The synsets of data.noun by their eight-digit ids."""
    synsets = {}
    for line in path.read_text("ascii").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split(" | ")[0].split()
        num_lemmas = int(fields[3], 16)
        lemmas = [lemma.replace("_", " ") for lemma in fields[4 : 4 + 2 * num_lemmas : 2]]
        pointers = fields[5 + 2 * num_lemmas :]
        up = [(kind, target) for kind, target in zip(pointers[::4], pointers[1::4], strict=True) if kind in ("@", "@i")]
        synsets[fields[0]] = Synset(fields[1], lemmas, [target for _, target in up], ("@i" in dict(up)))
    return synsets


def read_senses(path: Path) -> dict[str, list[str]]:
    """The synset ids of each lemma of index.noun, the most frequent sense first."""
    senses = {}
    for line in path.read_text("ascii").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]
    return senses


def imagenet(synsets: dict[str, Synset]) -> str:
    ids = files("timm").joinpath("data/_info/imagenet_synsets.txt").read_text().split()
    lines = [
        f"{name}\t\t{','.join(chain(synsets, id_[1:]))}\n" for name, id_ in zip(IMAGENET_CLASSNAMES, ids, strict=True)
    ]
    columns = "class name of open_clip 3.3, the term of vocabulary.tsv that it is (or none), hypernyms nearest first"
    return f"{LICENCE}# {columns}\n{''.join(lines)}"


def chain(synsets: dict[str, Synset], id_: str) -> list[str]:
    """The first lemma of each hypernym of a synset, nearest first, along the first hypernym of each."""
    names = []
    while ups := synsets[id_].hypernyms:
        id_ = ups[0]
        names.append(synsets[id_].lemmas[0])
    too_general = {name.strip() for name in TOO_GENERAL.split(",")}
    return [name for name in names if name not in too_general]


def nouns(synsets: dict[str, Synset], senses: dict[str, list[str]], exceptions: list[str]) -> str:
    """Three tables, a blank line between them: synsets, lemmas, irregular plurals."""
    used = {up for synset in synsets.values() if synset.file in CONCRETE for up in synset.hypernyms}
    kept = [id_ for id_, synset in synsets.items() if is_shown(synset) or (synset.file == TOPS and id_ in used)]
    number = {id_: str(row) for row, id_ in enumerate(kept)}
    ups = {id_: " ".join(number[up] for up in synsets[id_].hypernyms if up in number) for id_ in kept}
    first = [f"{CONCRETE.get(synsets[id_].file, 'top')}\t{ups[id_]}\n" for id_ in kept]
    shown = {lemma: [number[id_] for id_ in ids if id_ in number] for lemma, ids in sorted(senses.items())}
    second = [f"{lemma}\t{' '.join(numbers)}\n" for lemma, numbers in shown.items() if numbers]
    third = []
    for line in sorted(exceptions):
        plural, *singulars = line.replace("_", " ").split() if "_" not in line else [""]
        third += [f"{plural}\t{singular}\n" for singular in singulars[:1] if shown.get(singular)]
    return "\n".join([LICENCE, *("".join(table) for table in (first, second, third))])


def is_shown(synset: Synset) -> bool:
    return synset.file in CONCRETE and not (synset.is_instance and synset.file in WITHOUT_NAMES)


def main() -> None:
    wordnet = Path(sys.argv[1]) / "usr/share/wordnet"
    synsets = read_synsets(wordnet / "data.noun")
    senses = read_senses(wordnet / "index.noun")
    irregular = (wordnet / "noun.exc").read_text("ascii").splitlines()
    (ROOT / "imgsearch" / "data" / "imagenet.tsv").write_text(imagenet(synsets), "utf-8")
    text = nouns(synsets, senses, irregular)
    (ROOT / "tests" / "quality" / "nouns.tsv.xz").write_bytes(
        lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    )


if __name__ == "__main__":
    main()
