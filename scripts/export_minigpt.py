"""Save a fresh Mini-GPT into a folder that loads without hfcount: weights, config and the model files.

    python scripts/export_minigpt.py FOLDER                                       the default Mini-GPT
    python scripts/export_minigpt.py FOLDER --config model_cards/hfcount/microgpt
    AutoModelForCausalLM.from_pretrained("FOLDER", trust_remote_code=True)        how others load it

The weights are random, drawn with `--seed`. The folder may be uploaded to the Hub as it is: its config names
the classes (`auto_map`) and the files that hold them lie beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM


def read_config(source: Path | None) -> MiniGPTConfig:
    """The config in that file or folder; the defaults for None.

    Raises ValueError where there is none, or where it is another model's.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import PreTrainedConfig

    from hfcount.minigpt import MiniGPTConfig

    if source is None:
        return MiniGPTConfig()
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; give a config.json or the folder that holds one")
    try:
        fields, _ = PreTrainedConfig.get_config_dict(str(source), local_files_only=True)
    except OSError as error:
        raise ValueError(f"{source}: no config.json that can be read ({str(error).splitlines()[0]})") from error
    if fields.get("model_type") != MiniGPTConfig.model_type:
        raise ValueError(f"{source}: model_type is {fields.get('model_type')!r}, not {MiniGPTConfig.model_type!r}")
    try:
        return MiniGPTConfig.from_dict(fields)
    except StrictDataclassError as error:
        raise ValueError(f"{source}: {error}") from error


def export(config: MiniGPTConfig, folder: Path, seed: int = 0) -> MiniGPTForCausalLM:
    """The model of that config with fresh weights, saved into the folder together with its code.

    Registers the classes for the auto classes in this process: from here on each `save_pretrained` copies the code.
    """
    import torch

    from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM, MiniGPTModel

    MiniGPTConfig.register_for_auto_class("AutoConfig")
    MiniGPTModel.register_for_auto_class("AutoModel")
    MiniGPTForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    # save_pretrained enters only the class it saves; the same files hold the model without its head.
    config.auto_map = {"AutoModel": f"{MiniGPTModel.__module__.rpartition('.')[2]}.{MiniGPTModel.__name__}"}
    torch.manual_seed(seed)
    model = MiniGPTForCausalLM(config)
    model.save_pretrained(folder)
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Save a fresh Mini-GPT that loads without hfcount.")
    parser.add_argument("folder", type=Path, help="where to write; made if it is not there, empty if it is")
    parser.add_argument("--config", type=Path, help="a config.json or the folder of a card; default: Mini-GPT's own")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default: 0)")
    chosen = parser.parse_args(arguments)
    if chosen.folder.exists() and not (chosen.folder.is_dir() and not any(chosen.folder.iterdir())):
        parser.error(f"{chosen.folder}: not an empty folder; nothing is overwritten")
    try:
        model = export(read_config(chosen.config), chosen.folder, chosen.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{chosen.folder}: {model.num_parameters():,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
