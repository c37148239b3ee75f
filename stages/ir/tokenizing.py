"""CLIP tokenizers for both readers: the files that transformers loads, and IRs for openvino.genai.

Consumes a tokenizer folder of a checkpoint; produces the same files with openvino_tokenizer.xml and
openvino_detokenizer.xml beside them. Needs a byte-pair vocabulary, as every CLIP tokenizer has.
"""

import shutil
from pathlib import Path
from typing import Any

from stages.checkpoints.components import TOKENIZER_FILES
from stages.checkpoints.quiet import quiet
from stages.ir.tracing import settle_names

END_OF_WORD = "</w>"  # of a byte-pair vocabulary
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
            _keep_specials(model, tokenizer)
            settle_names(model, Path(name).stem)
            ov.save_model(model, target / name, compress_to_fp16=False)


def _keep_specials(model: Any, tokenizer: Any) -> None:
    """Let special tokens that are letters too keep their numbers in the IR, as they do in transformers.

    SDXL's second tokenizer pads with "!", which makes every "!" of a prompt number 0; OpenVINO looks a special token up
    as the end of a word, "!</w>", and finds 256. In the table that it searches, the two change places.
    """
    vocabulary = tokenizer.get_vocab()
    pairs = [(vocabulary[token], vocabulary.get(f"{token}{END_OF_WORD}")) for token in tokenizer.all_special_tokens]
    pairs = [(number, end) for number, end in pairs if end is not None]
    for node in model.get_ops() if pairs else []:
        if node.get_type_name() == "BPETokenizer":
            for port in node.inputs():
                _exchange(port, pairs, len(vocabulary))


def _exchange(port: Any, pairs: list[tuple[int, int]], size: int) -> None:
    """Begins and ends of the vocabulary's strings are constants with an entry for each."""
    from openvino import opset13 as ops

    source = port.get_source_output().get_node()
    if source.get_type_name() != "Constant" or list(source.get_output_shape(0)) != [size]:
        return
    entries = source.data.copy()
    if entries.dtype.kind == "i":
        for number, end in pairs:
            entries[[number, end]] = entries[[end, number]]
        port.replace_source_output(ops.constant(entries).output(0))
