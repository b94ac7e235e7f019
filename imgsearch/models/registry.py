"""Turn the user's text (a spec: a preset, a name, a folder) into a loaded model."""

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakValueDictionary

from imgsearch.embeddings import OnProgress
from imgsearch.errors import Message, ModelError, SettingsError
from imgsearch.models.captioner import Captioner
from imgsearch.models.clip import LOCAL_DIR_PREFIX, ClipEncoder, ClipSpec
from imgsearch.models.encoder import STARTER_ID, STARTER_IDS, BatchingEncoder, Encoder
from imgsearch.models.loading import captioner_files, check_precision

if TYPE_CHECKING:
    from imgsearch.downloads import Choose
    from imgsearch.hub import Repo

ModelKind: TypeAlias = Literal["encoder", "captioner"]
log = logging.getLogger(__name__)
STARTER = "starter"
_loading: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_loaded: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()  # encoders in use


@dataclass(frozen=True)
class Preset:
    """A model under a short name. README.md says how large and how good it is, and its licence."""

    name: str
    kind: ModelKind
    model_id: str
    repo: str  # on the hub
    languages: str = "English"
    has_tokenizer: bool = False  # True if its repository has one; CLIP's own comes with open_clip


_BLIP = "Salesforce/blip-image-captioning"
PRESETS = (  # "auto" stands for the first one of each kind
    Preset("siglip2", "encoder", "ViT-B-32-SigLIP2-256/webli", "timm/ViT-B-32-SigLIP2-256", "109", has_tokenizer=True),
    Preset("siglip2-b16", "encoder", "ViT-B-16-SigLIP2/webli", "timm/ViT-B-16-SigLIP2", "109", has_tokenizer=True),
    Preset("clip", "encoder", "ViT-B-32-256/datacomp_s34b_b86k", "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K"),
    Preset("mobileclip2", "encoder", "MobileCLIP2-S2/dfndr2b", "timm/MobileCLIP2-S2-OpenCLIP"),
    Preset("blip", "captioner", f"{_BLIP}-base", f"{_BLIP}-base"),
    Preset("blip-large", "captioner", f"{_BLIP}-large", f"{_BLIP}-large"),
    Preset("internvl", "captioner", "OpenGVLab/InternVL3-1B-hf", "OpenGVLab/InternVL3-1B-hf", "many, French too"),
)


@dataclass(frozen=True)
class ModelRef:
    """A model, and the requested revision of its weights ("": the one on disk, else the newest)."""

    model_id: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.model_id}@{self.revision}" if self.revision else self.model_id


def resolve(kind: ModelKind, spec: str) -> ModelRef:
    """Return the model that a spec stands for; "auto" is the first preset. Raise SettingsError if it names no model."""
    presets = {preset.name: preset.model_id for preset in PRESETS if preset.kind == kind}
    spec = next(iter(presets)) if spec == "auto" else spec
    if spec in (STARTER, *STARTER_IDS):
        return ModelRef(STARTER_ID if spec == STARTER else spec)
    if spec.startswith(LOCAL_DIR_PREFIX) or (
        kind == "captioner" and spec and spec not in presets and Path(spec).is_dir()
    ):
        folder = Path(spec.removeprefix(LOCAL_DIR_PREFIX)).expanduser()
        if not folder.is_dir():
            raise SettingsError(
                "There is no folder {folder}. Give --{kind} the folder of a model.", folder=folder, kind=kind
            )
        return ModelRef(f"{LOCAL_DIR_PREFIX}{folder.resolve()}")
    model_id, at, revision = spec.partition("@")
    model_id = presets.get(model_id, model_id)
    if "/" not in model_id or (at and not revision):
        names = ", ".join(["auto", STARTER, *presets])
        form = Message("MODEL/PRETRAINED or hf-hub:ORG/NAME") if kind == "encoder" else "ORG/NAME"
        raise SettingsError(
            "There is no {kind} {spec!r}. Use one of {names}, or {form}.", kind=kind, spec=spec, names=names, form=form
        )
    return ModelRef(model_id, revision)


def model_name(model_id: str) -> str:
    """Return a model's name for others: for a local model without its folder, which they must not see."""
    return model_id.rpartition("/")[2] if model_id.startswith(LOCAL_DIR_PREFIX) else model_id


def is_cached(kind: ModelKind, ref: ModelRef) -> bool:
    """Return True if a model loads without a request. May import open_clip: seconds. Raise SettingsError."""
    from imgsearch.downloads import cached_snapshot

    return all(cached_snapshot(repo, choose) for repo, choose in _required_repos(kind, ref))


def check_hub(kind: ModelKind, ref: ModelRef) -> None:
    """Ask the hub, for seconds at most, if it has a model's missing files. Raise ModelError or SettingsError if not."""
    from imgsearch.downloads import cached_snapshot
    from imgsearch.hub import probe

    for repo, choose in _required_repos(kind, ref):
        if not cached_snapshot(repo, choose):
            choose([file.rfilename for file in probe(repo).siblings or []])


def load_encoder(
    spec: str | ModelRef, precision: str = "auto", on_progress: OnProgress = lambda done, total: None
) -> Encoder:
    """Load the encoder that `spec` names, from disk or from the hub. If neither has it, "auto" gives the starter model.

    Takes seconds, or minutes if it is fetched. Raise SettingsError for an unknown spec, ModelError if loading fails.
    """
    check_precision(precision)
    ref = spec if isinstance(spec, ModelRef) else resolve("encoder", spec)
    try:
        if ref.model_id not in STARTER_IDS:
            parts, folders = _clip_spec(ref.model_id), _fetch("encoder", ref, on_progress)
            return ClipEncoder(parts, folders, precision=precision)
    except ModelError as error:
        if spec != "auto":
            raise
        log.warning("%s The starter model is used.", error)
        ref = ModelRef(STARTER_ID)
    from imgsearch.models.starter import StarterEncoder  # imports torch

    return StarterEncoder(ref.model_id)


def load_captioner(
    spec: str | ModelRef, precision: str = "auto", on_progress: OnProgress = lambda done, total: None
) -> Captioner | None:
    """Load the captioner that `spec` names, from disk or from the hub. Raise SettingsError or ModelError.

    Return None for "starter", and for "auto" if neither has it: then descriptions come from the encoder's vectors.
    """
    check_precision(precision)
    ref = spec if isinstance(spec, ModelRef) else resolve("captioner", spec)
    if ref.model_id in STARTER_IDS:
        return None
    try:
        [folder] = _fetch("captioner", ref, on_progress).values()
        return Captioner(ref.model_id, folder, precision=precision)
    except ModelError as error:
        if spec != "auto":
            raise
        log.warning("%s Descriptions are made from vectors.", error)
        return None


def _fetch(kind: ModelKind, ref: ModelRef, on_progress: OnProgress) -> dict[str, Path]:
    """Return the folder of each repository that a model needs, by its id; a local one by "". Fetch what is missing."""
    from imgsearch.downloads import fetch_snapshot

    if ref.model_id.startswith(LOCAL_DIR_PREFIX):
        return {"": Path(ref.model_id.removeprefix(LOCAL_DIR_PREFIX))}
    return {repo.id: fetch_snapshot(repo, choose, on_progress) for repo, choose in _required_repos(kind, ref)}


def _required_repos(kind: ModelKind, ref: ModelRef) -> "list[tuple[Repo, Choose]]":
    """Return the repositories of a model, each with the function that chooses its files."""
    from imgsearch.hub import Repo

    if ref.model_id in STARTER_IDS or ref.model_id.startswith(LOCAL_DIR_PREFIX):
        return []
    if kind == "captioner":
        return [(Repo.parse(str(ref)), partial(captioner_files, ref.model_id))]
    parts = _clip_spec(ref.model_id)
    revisions = {parts.weights: ref.revision or "main"}
    return [(Repo(repo, revisions.get(repo, "main")), partial(parts.choose, repo)) for repo in parts.repos]


def _clip_spec(model_id: str) -> ClipSpec:
    """Return the parts of an encoder. A preset is looked up without importing open_clip."""
    for preset in PRESETS:
        if preset.model_id == model_id:
            return ClipSpec(model_id, preset.repo, tokenizer=preset.repo if preset.has_tokenizer else "")
    return ClipSpec.parse(model_id)


def shared_encoder(ref: ModelRef, precision: str, on_progress: OnProgress) -> Encoder:
    """Return the encoder of that name, which all collections share. The first call loads it."""
    with _loading[ref.model_id, precision]:
        for (model_id, revision, loaded_precision), loaded in list(_loaded.items()):
            if (model_id, loaded_precision) == (ref.model_id, precision) and ref.revision in ("", revision):
                return loaded
        encoder = BatchingEncoder(load_encoder(ref, precision, on_progress))
        _loaded[encoder.model_id, encoder.revision, precision] = encoder
        return encoder
