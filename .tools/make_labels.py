"""Make imgsearch/data/labels.npy again from imagenet.tsv: python .tools/make_labels.py"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from imgsearch.models.starter import LABELS, MiniLm, embed_labels  # noqa: E402

np.save(LABELS, embed_labels(MiniLm()).astype(np.float16))
