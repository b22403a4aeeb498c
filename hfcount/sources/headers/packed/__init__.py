"""The packed formats, a small class each. Which of them a file has is read from its tensors; the config's
`quantization_config` says which is asked first."""

from hfcount.sources.headers.packed.awq import AWQ
from hfcount.sources.headers.packed.bitnet import BitNet
from hfcount.sources.headers.packed.bitsandbytes import BitsAndBytes4Bit, BitsAndBytes8Bit
from hfcount.sources.headers.packed.compressed_tensors import PackQuantized, SparseBitmask
from hfcount.sources.headers.packed.format import PackedFormat
from hfcount.sources.headers.packed.gguf import GGUF, model_names
from hfcount.sources.headers.packed.gptq import GPTQ
from hfcount.sources.headers.packed.hqq import HQQ
from hfcount.sources.headers.packed.mlx import MLX
from hfcount.sources.headers.packed.mxfp4 import MXFP4
from hfcount.sources.headers.packed.scaled import Scaled
from hfcount.sources.headers.packed.table import Table
from hfcount.sources.headers.packed.torchao import TorchAO

FORMATS: tuple[PackedFormat, ...] = (
    BitsAndBytes4Bit(),
    BitsAndBytes8Bit(),
    GPTQ(),
    AWQ(),
    HQQ(),
    TorchAO(),
    MLX(),
    MXFP4(),
    BitNet(),
    PackQuantized(),
    SparseBitmask(),
    Scaled(),
)
"""In the order in which they are asked: what names its parts most plainly comes first. GGUF is apart: a file is
either all GGUF or not at all."""

__all__ = ["FORMATS", "GGUF", "PackedFormat", "Table", "model_names"]
