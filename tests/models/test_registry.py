"""A model by its name: which one is meant, what is needed of it, how it loads, and that it brings no code along."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils import _detect_agent
from PIL import Image

from imgsearch.errors import ModelError, SettingsError
from imgsearch.models.clip import ClipSpec
from imgsearch.models.encoder import STARTER_ID
from imgsearch.models.loading import captioner_files
from imgsearch.models.registry import PRESETS, ModelKind, ModelRef, _clip_spec, load_captioner, load_encoder, resolve
from tests.helpers.loopback_hub import Corrupt, Hang, LoopbackHub, Status, sentence


@pytest.mark.parametrize(
    ("kind", "spec", "name"),
    [
        ("encoder", "auto", ModelRef("ViT-B-32-SigLIP2-256/webli")),
        ("encoder", "clip@abc", ModelRef("ViT-B-32-256/datacomp_s34b_b86k", "abc")),
        ("encoder", "hf-hub:a/b@abc", ModelRef("hf-hub:a/b", "abc")),
        ("encoder", "starter", ModelRef(STARTER_ID)),
        ("encoder", STARTER_ID, ModelRef(STARTER_ID)),
        ("captioner", "auto", ModelRef("Salesforce/blip-image-captioning-base")),
        ("captioner", "internvl", ModelRef("OpenGVLab/InternVL3-1B-hf")),
        ("captioner", "a/b@abc", ModelRef("a/b", "abc")),
        ("captioner", "starter", ModelRef(STARTER_ID)),
        ("encoder", "local-dir:blip", ModelRef("local-dir:{}/blip")),
        ("encoder", "local-dir:~/blip", ModelRef("local-dir:{}/blip")),
        ("captioner", "./blip", ModelRef("local-dir:{}/blip")),
        ("captioner", "blip", ModelRef("Salesforce/blip-image-captioning-base")),
    ],
)
def test_a_spec_names_a_model(
    kind: ModelKind, spec: str, name: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blip").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = ModelRef(name.model_id.format(tmp_path.resolve()), name.revision)
    assert resolve(kind, spec) == resolve(kind, str(resolve(kind, spec))) == expected


@pytest.mark.parametrize("kind", ["encoder", "captioner"])
def test_an_unknown_spec_is_told_the_known_ones(kind: ModelKind) -> None:
    presets = [preset.name for preset in PRESETS if preset.kind == kind]
    for spec in ("", "nothing", "a/b@", f"{presets[0]}@", "auto@abc", "starter@abc"):
        with pytest.raises(SettingsError) as caught:
            resolve(kind, spec)
        assert all(name in sentence(caught.value, spec) for name in ("auto", "starter", *presets))
    with pytest.raises(SettingsError, match="There is no folder /none"):
        resolve(kind, "local-dir:/none")


def test_open_clip_knows_the_presets_as_we_do() -> None:
    for preset in PRESETS:
        assert preset.kind == "captioner" or _clip_spec(preset.model_id) == ClipSpec.parse(preset.model_id)
    for spec, words in (("ViT-B-32/openai", "ViT-B-32-quickgelu/openai"), ("ViT-B-32/nothing", "laion2b_s34b_b79k")):
        with pytest.raises(SettingsError) as caught:
            ClipSpec.parse(spec)
        assert words in sentence(caught.value, spec)


def test_the_files_of_an_encoder() -> None:
    tokenizer = ["tokenizer.json", "tokenizer_config.json"]
    weights = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "own.bin", "own.safetensors"]
    names = [*weights, *tokenizer, "open_clip_config.json", "vocab.json", "merges.txt", "config.json", "README.md"]
    spec = ClipSpec("hf-hub:a/b", "a/b")
    assert spec.choose("a/b", names) == [weights[0], "open_clip_config.json", *tokenizer]
    assert spec.choose("a/b", [weights[1], *tokenizer[1:], "vocab.json"]) == [weights[1], tokenizer[1], "vocab.json"]
    spec = ClipSpec("a/b", "a/b", "own.bin", "a/tokens", "a/text")
    assert spec.choose("a/b", names) == ["own.safetensors", "open_clip_config.json"]
    assert spec.choose("a/b", weights[:3]) == ["own.bin"]
    assert spec.choose("a/tokens", names) == [*tokenizer, "config.json"] and spec.repos == ["a/b", "a/tokens", "a/text"]
    assert spec.choose("a/text", names) == ["config.json"]
    with pytest.raises(ModelError, match="a/b holds no weights"):
        spec.choose("a/b", weights[:2])


def test_the_files_of_a_captioner() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index, names = "model.safetensors.index.json", ["config.json", "chat_template.jinja", "tokenizer.json", "vocab.txt"]
    assert captioner_files("a/b", [*names, "model.safetensors", "pytorch_model.bin"]) == [
        *names[:3],
        "model.safetensors",
    ]
    assert captioner_files("a/b", [*names, index, *shards, "pytorch_model.bin"]) == [*names[:3], index, *shards]
    assert captioner_files("a/b", ["vocab.txt", "pytorch_model.bin"]) == ["vocab.txt", "pytorch_model.bin"]
    for weights in ([], shards, [index], ["onnx/model.safetensors"]):
        with pytest.raises(ModelError, match="a/b holds no weights"):
            captioner_files("a/b", [*names, *weights])


def test_models_load_from_the_hub_and_then_without_it(
    hub: LoopbackHub, tiny: Path, empty_cache: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    repos = {preset.name: preset.repo for preset in PRESETS} | {"hf-hub:tiny/clip": "tiny/clip"}
    encoders = {"hf-hub:tiny/clip": tiny / "clip", "siglip2": tiny / "siglip"}
    captioners = {"blip": tiny / "blip", "internvl": tiny / "internvl"}
    commits = {spec: hub.add(repos[spec], folder) for spec, folder in (encoders | captioners).items()}
    for is_hanging in (False, True):
        if is_hanging:
            hub.requests.clear()
            hub.fault = Hang()
            monkeypatch.setattr(_detect_agent, "_registry", None)  # or it would ask but once in a process
        for spec in encoders:
            encoder = load_encoder(spec)
            assert encoder.revision == commits[spec] and encoder.encode_images([photo]).shape == (1, encoder.dim)
            assert encoder.encode_texts(["a dog"]).shape == (1, encoder.dim)
        for spec in captioners:
            captioner = load_captioner(spec)
            assert captioner and captioner.model_id == repos[spec] and list(captioner.describe(photo))[-1]
    assert not hub.requests


def test_a_pinned_commit_is_the_one_that_loads(
    hub: LoopbackHub, tiny: Path, tmp_path: Path, empty_cache: Path, photo: Image.Image
) -> None:
    for load, kind in ((load_encoder, "clip"), (load_captioner, "blip")):
        folder = Path(shutil.copytree(tiny / kind, tmp_path / kind))
        repo, commit = f"tiny/{kind}", hub.add(f"tiny/{kind}", folder)
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "open_clip_model.safetensors").write_bytes(b"")
        assert hub.add(repo, folder) != commit
        prefix = "hf-hub:" if kind == "clip" else ""
        assert load(f"{prefix}{repo}@{commit}").model_id == f"{prefix}{repo}"
        with pytest.raises(ModelError, match="cannot be loaded"):
            load(f"{prefix}{repo}")


@pytest.mark.parametrize("fault", [Status(500), Corrupt()], ids=repr)
def test_auto_falls_back_and_a_name_does_not(hub: LoopbackHub, tiny: Path, empty_cache: Path, fault: Any) -> None:
    hub.add("timm/ViT-B-32-SigLIP2-256", tiny / "siglip")
    hub.add("Salesforce/blip-image-captioning-base", tiny / "blip")
    hub.fault = fault
    assert load_encoder("auto").model_id == STARTER_ID and load_captioner("auto") is None
    for load, spec in ((load_encoder, "siglip2"), (load_captioner, "blip")):
        with pytest.raises(ModelError, match="cannot be had"):
            load(spec)


class Bomb:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("load", "kind", "name"),
    [(load_encoder, "clip", "open_clip_pytorch_model.bin"), (load_captioner, "blip", "pytorch_model.bin")],
)
def test_a_checkpoint_runs_no_code(load: Any, kind: str, name: str, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny / kind, tmp_path / kind))
    next(folder.glob("*.safetensors")).unlink()
    torch.save(Bomb(tmp_path / "hit"), folder / name)
    with pytest.raises(ModelError) as caught:
        load(f"local-dir:{folder}")
    sentence(caught.value, f"local-dir:{folder}")
    assert not (tmp_path / "hit").exists()
    torch.load(folder / name, weights_only=False)
    assert (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    ("code", "is_asked"), [("evil.Evil", True), ("tiny/code--evil.Evil", True), ("evil.Evil", False)]
)
@pytest.mark.parametrize("kind", ["siglip", "blip", "internvl"])
def test_a_model_brings_no_code(
    hub: LoopbackHub, tiny: Path, tmp_path: Path, kind: str, code: str, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it or in another repository; where its settings ask to be trusted, and where the user would be asked."""
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or "n")
    folder = Path(shutil.copytree(tiny / kind, tmp_path / kind))
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'hit')!r})\nclass Evil: pass\n")
    hub.add("tiny/code", folder)
    parts = ("Config", "Model", "ModelForImageTextToText", "Processor", "ImageProcessor")
    trust = {"trust_remote_code": True} if is_asked else {}
    more = {"auto_map": {f"Auto{part}": code for part in parts} | {"AutoTokenizer": [code, code]}, **trust}
    if kind == "blip":
        more["model_type"] = "evil"
    for path in set(folder.glob("*.json")) - {folder / "tokenizer.json"}:
        settings = json.loads(path.read_text("utf-8"))
        if path.name == "open_clip_config.json":
            settings["model_cfg"]["text_cfg"]["tokenizer_kwargs"] |= trust
        path.write_text(json.dumps(settings | more | {"tokenizer_class": "Evil"}), "utf-8")
    with suppress(ModelError):
        (load_encoder if kind == "siglip" else load_captioner)(f"local-dir:{folder}")
    assert not (tmp_path / "hit").exists() and not hub.requests and not questions
