"""Make examples/ again from the packages its photos come from.

    apt-get download tuxpaint-stamps-default lomiri-wallpapers-16.04    # then: dpkg -x EACH.deb ROOT
    pip install scikit-image
    python .tools/make_examples.py ROOT

ROOT is the folder the two Debian packages were unpacked into. The result is a Hugging Face imagefolder.
"""

import csv
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LONGEST_SIDE = 512
JPEG_QUALITY = 85
STAMPS_CREDIT = "Tux Paint stamps, Bill Kendrick and contributors"
STAMPS_LICENCE = "GPL-2.0-or-later"


class Photo(NamedTuple):
    source: Path
    file_name: str
    caption: str
    caption_fr: str
    subject: str
    credit: str
    license: str


def stamps(root: Path) -> Iterator[Photo]:
    """Photos of Tux Paint: the half whose path hashes to 0-7; the other half is kept for measuring."""
    for png in sorted(root.rglob("*.png")):
        path = png.relative_to(root).as_posix()
        text = png.with_suffix(".txt")
        drawn = path.startswith("symbols/") or "cartoon" in path
        if drawn or not text.is_file() or hashlib.sha1(path.encode()).hexdigest()[0] not in "01234567":
            continue
        lines = text.read_text("utf-8").splitlines()
        french = next((line.removeprefix("fr.utf8=") for line in lines if line.startswith("fr.utf8=")), "")
        subject = path.split("/")[0]
        file_name = f"stamps/{path.removesuffix('.png').replace('/', '-').lower()}.jpg"
        yield Photo(png, file_name, lines[0].strip(), french.strip(), subject, STAMPS_CREDIT, STAMPS_LICENCE)


def others(folder: Path, subfolder: str, table: str) -> Iterator[Photo]:
    """Photos listed below, one a line: file | name | subject | caption | French caption | credit | licence."""
    for line in table.strip().splitlines():
        file, name, subject, caption, caption_fr, credit, licence = (part.strip() for part in line.split("|"))
        yield Photo(folder / file, f"{subfolder}/{name}.jpg", caption, caption_fr, subject, credit, licence)


SKIMAGE = """
astronaut.png | astronaut | people | An astronaut in an orange space suit, with a flag and a model of the space shuttle. | Une astronaute en combinaison spatiale orange, avec un drapeau et une maquette de navette spatiale. | NASA | Public domain
chelsea.png | chelsea | animals | The face of a tabby cat. | La tête d'un chat tigré. | Stefan van der Walt | CC0-1.0
coffee.png | coffee | food | A cup of espresso on a saucer, on a wooden table. | Une tasse d'expresso sur sa soucoupe, sur une table en bois. | Rachel Michetti, courtesy of Pikolo Espresso Bar | CC0-1.0
rocket.jpg | rocket | space | A rocket on the launch pad at dusk. | Une fusée sur son pas de tir, au crépuscule. | SpaceX | Public domain
motorcycle_left.png | motorcycle | vehicles | A red motorcycle in a garage. | Une moto rouge dans un garage. | Middlebury 2014 stereo benchmark (N. Nesic, P. Westling, X. Wang, Y. Kitajima, G. Krathwohl, D. Scharstein) | Distributed with scikit-image (BSD-3-Clause); none stated for the photo
camera.png | cameraman | people | A man looking through a camera on a tripod, in black and white. | Un homme regarde dans une caméra sur trépied, en noir et blanc. | Lav Varshney | CC0-1.0
coins.png | coins | objects/coins | Rows of ancient Greek coins. | Des rangées de pièces de monnaie grecques antiques. | Brooklyn Museum | No known copyright restrictions
brick.png | brick_wall | textures | A wall of bricks. | Un mur de briques. | CC0Textures (Bricks25) | CC0-1.0
grass.png | grass | textures | Grass seen from above. | De l'herbe vue de dessus. | Texture from a CC0 collection, by way of scikit-image | CC0-1.0
gravel.png | gravel | textures | Gravel. | Du gravier. | CC0Textures (Gravel04) | CC0-1.0
hubble_deep_field.jpg | galaxies | space | Distant galaxies in the night sky, seen by the Hubble telescope. | Des galaxies lointaines dans le ciel nocturne, vues par le télescope Hubble. | NASA, ESA, Hubble | Public domain
retina.jpg | retina | medical | The retina of a human eye. | La rétine d'un œil humain. | Mikael Häggström | CC0-1.0
"""
LOMIRI = """
Bridge_by_Sander_Klootwijk.jpg | bridge_cables | landscapes | Cables of a bridge over a wide river, under a blue sky. | Les câbles d'un pont au-dessus d'un large fleuve, sous un ciel bleu. | Sander Klootwijk | CC-BY-SA-4.0
Dragonfly_by_Bolly.jpg | dragonfly | animals | A dragonfly on a twig. | Une libellule sur une brindille. | Bolly | CC-BY-SA-4.0
Picture_0B_by_freespace.jpg | fig | food | Half a fig in a red bowl. | Une moitié de figue dans un bol rouge. | Trevor "Freespace" | CC-BY-4.0
Picture_1A_by_freespace.jpg | paintbrushes | household | Paintbrushes covered with bright colours. | Des pinceaux couverts de couleurs vives. | Trevor "Freespace" | CC-BY-4.0
Wine_by_Jakkub_Mede.jpg | wine_and_drum | household | A bottle of red wine, a glass and a drum in a living room. | Une bouteille de vin rouge, un verre et un tambour dans un salon. | Jakub Mede | CC-BY-4.0
aitzgorri_by_Aitzol_Berasategi.jpg | autumn_mountain | landscapes | A mountain above a forest in autumn and a green meadow. | Une montagne au-dessus d'une forêt d'automne et d'un pré vert. | Aitzol Berasategi | CC-BY-4.0
free_by_Peter_Nerlich.jpg | toy_bird | household | A small toy bird hanging from a lamp. | Un petit oiseau jouet suspendu à une lampe. | Peter Nerlich | CC-BY-SA-4.0
friends_by_Aitzol_Berasategi.jpg | two_dogs | animals | Two brown dogs looking out of a window. | Deux chiens bruns regardent par la fenêtre. | Aitzol Berasategi | CC-BY-4.0
greentock_by_Peter_Nerlich.jpg | wall_clock | household | A white wall clock. | Une horloge murale blanche. | Peter Nerlich | CC-BY-SA-4.0
life_by_Aitzol_Berasategi.jpg | stream | landscapes | A stream running over rocks in a forest. | Un ruisseau coule sur des rochers dans une forêt. | Aitzol Berasategi | CC-BY-4.0
picosdeeuropa_by_Aitzol_Berasategi.jpg | mountain_path | landscapes | A path to rocky mountains with patches of snow. | Un sentier vers des montagnes rocheuses parsemées de neige. | Aitzol Berasategi | CC-BY-4.0
seeding_by_Clements_Engelhardt.jpg | dandelions | plants | Dandelion seed heads in a meadow against the light. | Des aigrettes de pissenlit dans un pré, à contre-jour. | Clemens Engelhardt | CC0-1.0
sunset_by_Aitzol_Berasategi.jpg | sunset | landscapes | Sunset over mountains, seen from a summit. | Coucher de soleil sur les montagnes, vu d'un sommet. | Aitzol Berasategi | CC-BY-4.0
"""


def save_jpeg(source: Path, target: Path) -> None:
    with Image.open(source) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("RGBA", "LA", "P"):
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, quality=JPEG_QUALITY, optimize=True)


def write_credits(photos: list[Photo]) -> None:
    lines = [
        "# Credits",
        "",
        "The photos of this folder, scaled to at most 512 pixels and put on white where they were transparent.",
        f"`stamps/`: {STAMPS_CREDIT}; {STAMPS_LICENCE} (`GPL-2.txt`); from Debian's `tuxpaint-stamps-default`.",
        "`skimage/`: from the scikit-image package. `wallpapers/`: from Debian's `lomiri-wallpapers-16.04`.",
        "",
        "| photo | credit | licence |",
        "|---|---|---|",
    ]
    lines += [f"| {p.file_name} | {p.credit} | {p.license} |" for p in photos if p.credit != STAMPS_CREDIT]
    (EXAMPLES / "CREDITS.md").write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    import skimage.data

    root = Path(sys.argv[1])
    photos = [
        *stamps(root / "usr/share/tuxpaint/stamps"),
        *others(Path(skimage.data.__file__).parent, "skimage", SKIMAGE),
        *others(root / "usr/share/backgrounds", "wallpapers", LOMIRI),
    ]
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    for photo in photos:
        save_jpeg(photo.source, EXAMPLES / photo.file_name)
    with (EXAMPLES / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Photo._fields[1:])
        writer.writerows(photo[1:] for photo in photos)
    write_credits(photos)
    shutil.copy("/usr/share/common-licenses/GPL-2", EXAMPLES / "GPL-2.txt")


if __name__ == "__main__":
    main()
