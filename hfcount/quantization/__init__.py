"""What bitsandbytes stores: in closed form for a tensor, and read off transformers' own conversion for a model."""

from hfcount.quantization.quantize import Quantized, quantize
from hfcount.quantization.storage import KINDS, Scheme, Stored, stored

__all__ = ["KINDS", "Quantized", "Scheme", "Stored", "quantize", "stored"]
