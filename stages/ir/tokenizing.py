"""CLIP tokenizers for both readers: the files that transformers loads, and IRs for openvino.genai.

Consumes a tokenizer folder of a checkpoint; produces the same files with openvino_tokenizer.xml and
openvino_detokenizer.xml beside them. Needs a byte-pair vocabulary, as every CLIP tokenizer has.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from stages.checkpoints import lean
from stages.checkpoints.components import TOKENIZER_FILES
from stages.checkpoints.quiet import quiet
from stages.ir.tracing import settle_names

END_OF_WORD = "</w>"  # of a byte-pair vocabulary
IR_NAMES = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")


def write_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer and convert it; both IRs lie beside the copied files."""
    import openvino as ov

    tokenizer_class = lean.named("transformers", "CLIPTokenizerFast")  # before what imports transformers too
    from openvino_tokenizers import convert_tokenizer

    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    with quiet():
        tokenizer = tokenizer_class.from_pretrained(target, local_files_only=True)
        known = max(tokenizer.get_vocab().values()) + 1
        completed = _complete(tokenizer)
        for name, model in zip(IR_NAMES, convert_tokenizer(tokenizer, with_detokenizer=True), strict=True):
            _keep_specials(model, tokenizer)
            _cut(model, tokenizer)
            if completed:
                _forget_letters(model, known, tokenizer.unk_token_id)
            settle_names(model, Path(name).stem)
            ov.save_model(model, target / name, compress_to_fp16=False)


def _complete(tokenizer: Any) -> bool:
    """Number every letter of the 256 bytes; whether any had none.

    A small vocabulary lacks some, and OpenVINO fails on a text that has them.
    """
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import ByteLevel

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    letters = [form for letter in sorted(ByteLevel.alphabet()) for form in (letter, f"{letter}{END_OF_WORD}")]
    first = max(tokenizer.get_vocab().values()) + 1
    missing = [letter for letter in letters if letter not in vocabulary]
    if missing:
        vocabulary |= {letter: first + number for number, letter in enumerate(missing)}
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))
    return bool(missing)


def _forget_letters(model: Any, known: int, unknown: int) -> None:
    """The numbers that `_complete` gave become the unknown token's, as in transformers: the encoder has no others."""
    from openvino import opset13 as ops

    for result in model.get_results():
        port = result.input(0)
        if "input_ids" in port.get_source_output().get_names():
            numbers = port.get_source_output()
            kind = numbers.get_element_type().to_dtype()
            limit, instead = (ops.constant(kind.type(value)) for value in (known, unknown))
            kept = ops.select(ops.less(numbers, limit), numbers, instead).output(0)
            kept.get_tensor().set_names(numbers.get_names())
            numbers.get_tensor().set_names(set())
            port.replace_source_output(kept)
    model.validate_nodes_and_infer_types()


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


def _cut(model: Any, tokenizer: Any) -> None:
    """Cut long texts before the end token is put behind them, as transformers does.

    In the IR cutting is a state that is off, and openvino.genai turns it off at every text, then takes the first 77
    numbers itself: the end token, which the pooled embedding is read at, would be lost.
    """
    from openvino import opset13 as ops

    longest = min(tokenizer.model_max_length - tokenizer.num_special_tokens_to_add(), 2**30)
    for node in model.get_ops():
        if node.get_type_name() == "Truncate":  # begins and ends of each text among all numbers, the numbers, ...
            begins, ends = (node.input(port).get_source_output() for port in (0, 1))
            limit = ops.add(begins, ops.constant(longest, dtype="int32"))
            node.input(1).replace_source_output(ops.minimum(ends, limit).output(0))


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
