"""CLIP tokenizers for both readers: the files that transformers loads, and IRs for openvino.genai.

Consumes a tokenizer folder of a checkpoint; produces the same files with openvino_tokenizer.xml and
openvino_detokenizer.xml beside them. Needs a byte-pair vocabulary, as every CLIP tokenizer has.
"""

import shutil
from pathlib import Path

from stages.checkpoints.components import TOKENIZER_FILES
from stages.checkpoints.quiet import quiet
from stages.ir.tracing import settle_names

IR_NAMES = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")


def write_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer and convert it; both IRs lie beside the copied files."""
    import openvino as ov
    from openvino_tokenizers import convert_tokenizer
    from transformers import CLIPTokenizerFast

    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    with quiet():
        tokenizer = CLIPTokenizerFast.from_pretrained(target, local_files_only=True)
        for name, model in zip(IR_NAMES, convert_tokenizer(tokenizer, with_detokenizer=True), strict=True):
            settle_names(model, Path(name).stem)
            ov.save_model(model, target / name, compress_to_fp16=False)
