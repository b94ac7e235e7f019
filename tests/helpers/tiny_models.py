"""Checkpoints of a few kilobytes that load like the real ones: random weights, from library classes only."""

import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
)

WIDTH, LAYERS, HEADS = 32, 2, 2
CLIP_PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
SIGLIP_PREPROCESS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
CAPTION_WORDS = (
    "a an the of on in with at two three small large old red green blue white black cat dog bird horse boat car house"
    " tree flower fruit cup table street beach field man woman child standing sitting running"
)
CHAT_TEMPLATE = """
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['content'] is string %}{{ message['content'] }}
{%- else %}{% for part in message['content'] %}
{%- if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}
{%- endfor %}{% endif %}{{ '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"""


def save_tiny_clip(folder: Path) -> Path:
    """An open_clip model with the tokenizer that open_clip brings; 6 MB, nearly all of them its vocabulary."""
    return _save_open_clip(folder, open_clip.CLIP, {"vocab_size": 49408}, CLIP_PREPROCESS)


def save_tiny_siglip(folder: Path) -> Path:
    """An open_clip model with a tokenizer of its own beside it, as the SigLIP 2 repositories have."""
    tokenizer = _byte_tokenizer(["<pad>", "<eos>"], pad_token="<pad>", eos_token="<eos>")
    ends = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", tokenizer.eos_token_id)])
    tokenizer.backend_tokenizer.post_processor = ends
    tokenizer.save_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "tiny/siglip",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    }
    more = {"init_logit_bias": -10, "custom_text": True}
    return _save_open_clip(folder, open_clip.CustomTextCLIP, text, SIGLIP_PREPROCESS, more)


def save_tiny_blip(folder: Path) -> Path:
    """A BLIP captioner of some 40 words; `[DEC]` is a plain word of its vocabulary."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CAPTION_WORDS.split(), "[DEC]", "[ENC]"]
    ids = {word: number for number, word in enumerate(vocabulary)}
    size = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS}
    size |= {"num_attention_heads": HEADS, "projection_dim": WIDTH}
    special = {"bos_token_id": ids["[DEC]"], "eos_token_id": 2, "sep_token_id": ids["[SEP]"], "pad_token_id": 0}
    text = size | special | {"vocab_size": len(ids), "max_position_embeddings": 64, "initializer_range": 0.2}
    vision = size | {"image_size": 32, "patch_size": 16, "initializer_range": 0.1}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, image_text_hidden_size=WIDTH)
    with _seeded(19):
        model = BlipForConditionalGeneration(config)
    text_model = model.text_decoder.bert  # as it is, it says one word of a picture over and over
    text_model.embeddings.position_embeddings.weight.data *= 10
    for layer in text_model.encoder.layer:
        layer.crossattention.output.dense.weight.data *= 0.3
    bias = model.text_decoder.cls.predictions.bias.data
    bias[[number for word, number in ids.items() if word.startswith("[")]] = -100
    bias[ids["[SEP]"]] = 1
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(vocab=ids)).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def save_tiny_internvl(folder: Path) -> Path:
    """An InternVL captioner that says lower-case letters and spaces, for at most 22 tokens on most pictures."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    special = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokens = [*special.values(), "<|im_start|>", *named.values()]
    tokenizer = _byte_tokenizer(tokens, **special, extra_special_tokens=named)
    size = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS}
    size |= {"num_attention_heads": HEADS}
    config = InternVLConfig(
        vision_config=size
        | {"image_size": [28, 28], "patch_size": [14, 14]}
        | {"initializer_range": 0.1, "layer_scale_init_value": 1.0},
        text_config=size
        | {"model_type": "qwen2", "num_key_value_heads": HEADS, "vocab_size": len(tokenizer)}
        | {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.5},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=1,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
        initializer_range=0.5,
    )
    with _seeded(2):
        model = InternVLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    letters = tokenizer.convert_tokens_to_ids(list(string.ascii_lowercase))
    ends = [*tokenizer.convert_tokens_to_ids(["\u0120"]), tokenizer.eos_token_id]  # of a word, of the caption
    head = model.lm_head.weight.data
    head[ends] *= 1.5
    head[sorted(set(range(len(head))) - {*letters, *ends})] = 0  # a logit of 0: never the best of them all
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size={"height": 28, "width": 28}),
        image_seq_length=1,
        chat_template=CHAT_TEMPLATE.strip(),
    )
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _save_open_clip(
    folder: Path,
    kind: type[open_clip.CLIP] | type[open_clip.CustomTextCLIP],
    text: dict[str, Any],
    preprocess: dict[str, Any],
    more: dict[str, Any] | None = None,
) -> Path:
    size = {"width": WIDTH, "layers": LAYERS}
    config = {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": WIDTH // HEADS, **size},
        "text_cfg": {"context_length": 16, "heads": HEADS, **size, **text},
        **(more or {}),
    }
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    with _seeded(0):
        model = kind(**arguments)
    for block in model.visual.transformer.resblocks:  # else all pictures are much alike
        block.attn.out_proj.weight.data *= 10
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(contents, indent=2), "utf-8")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors", {"format": "pt"})
    return folder


def _byte_tokenizer(special: list[str], **names: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: a token for each of `special`, then one for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
