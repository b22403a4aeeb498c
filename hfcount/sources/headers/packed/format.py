"""What a packed format is to the rest: the methods it is stated by, and a way to find and unpack its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from hfcount.sources.headers.packed.table import Table

WORD_BITS = {"U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FN", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
EXPONENTS = frozenset({"U8", "F8_E8M0", "F8_E8M0FNU"})
"""Element types of MX's scales, powers of two: torch's own, and the byte that older files hold them in."""

Settings = Mapping[str, Any]


class PackedFormat(Protocol):
    """A way to store weights in fewer bits than their shape says.

    Attributes:
        methods: the values of `quant_method` that name it.
    """

    methods: ClassVar[frozenset[str]]

    def unpack(self, table: Table, settings: Settings, metadata: Mapping[str, Any]) -> list[str]:
        """Claims what is stored so and names the kinds found ("bitsandbytes nf4"); [] where nothing is.

        It goes by names, dtypes and shapes, and by `settings` (the config's `quantization_config`; {} without one, or
        where it names another method) where these leave several readings. `metadata` is the header's. Nothing in
        any of them is an error: what does not fit stays in the table.
        """
        ...


def integer(settings: Settings, key: str) -> int | None:
    """A positive integer among the settings, or None."""
    value = settings.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def mapping(value: Any) -> Settings:
    """The value if it is a mapping, else {}."""
    return value if isinstance(value, Mapping) else {}


def quantization(config: Mapping[str, Any] | None) -> Settings:
    """The config's own words on quantization, wherever its kind keeps them; {} where it has none.

    `quantization_config` is transformers', `compression_config` that of compressed-tensors before 0.6,
    `quantization` MLX's; a model of several parts may have it in its `text_config`.
    """
    for place in (mapping(config), mapping(mapping(config).get("text_config"))):
        for key in ("quantization_config", "compression_config", "quantization"):
            found = mapping(place.get(key))
            if found:
                return found
    return {}


def method(settings: Settings) -> str:
    """What the settings call the method, in lower case: "gptq", "bitsandbytes", ...; "" where they do not."""
    value = settings.get("quant_method") or settings.get("quant_algo") or ""
    return value.lower() if isinstance(value, str) else ""
