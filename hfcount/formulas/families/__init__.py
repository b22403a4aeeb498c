"""Closed forms derived by hand, one pure function a family: the independent witness of the count.

They are written from the papers and never from an inventory, so nothing here imports torch, transformers or
hfcount's own counting; a test reads the imports. Each docstring numbers the steps of its derivation.
"""

from hfcount.formulas.families.encoders import bert, t5, vit
from hfcount.formulas.families.experts import deepseek_v3, mixtral
from hfcount.formulas.families.gpt import bloom, gpt2, gpt_neox, openai_gpt, opt
from hfcount.formulas.families.llama import llama, nanochat
from hfcount.formulas.families.minigpt import minigpt

__all__ = [
    "bert", "bloom", "deepseek_v3", "gpt2", "gpt_neox", "llama", "minigpt", "mixtral", "nanochat", "openai_gpt",
    "opt", "t5", "vit",
]  # fmt: skip
