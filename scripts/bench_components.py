"""How well the inventory places parameters, over every model type of the installed transformers that can be built.

    python scripts/bench_components.py [--task causal] [--markdown]

For each type with a default config: its class and parameters, the share that no rule places ("other"), whether the token
embedding is what get_input_embeddings returns and the LM head what get_output_embeddings returns, and the seconds that
building and counting took. Types that cannot be built are listed with the reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

TASKS = {
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "image": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "image-text": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "speech": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "audio": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    "base": "MODEL_MAPPING_NAMES",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """One model type: what was found, or why it was not built."""

    model_type: str
    model_class: str
    parameters: int = 0
    other: float = 0.0
    embedding_agrees: bool = True
    head_agrees: bool = True
    seconds: float = 0.0
    reason: str | None = None


Examine = Callable[[str, Any, Any], None]
"""What is told each model type that was built, its model and its table."""


def survey(task: str = "causal", examine: Examine | None = None) -> Iterator[Placed]:
    """Every type of the task's auto mapping, in its order."""
    from transformers.models.auto import modeling_auto

    for model_type, names in getattr(modeling_auto, TASKS[task]).items():
        yield place(model_type, names[0] if isinstance(names, (tuple, list)) else names, examine)


def place(model_type: str, class_name: str, examine: Examine | None = None) -> Placed:
    """The type with its default config as `class_name`, counted; its reason where it cannot be built."""
    import transformers

    from hfcount.classes import fitting_config
    from hfcount.errors import HfcountError
    from hfcount.inventory import inventory
    from hfcount.skeleton import build_empty

    begin = time.perf_counter()
    try:
        model_class = getattr(transformers, class_name)
        config = fitting_config(transformers.CONFIG_MAPPING[model_type](), model_class)
        model = build_empty(model_class, config, where=model_type)
    except HfcountError as error:
        return Placed(model_type=model_type, model_class=class_name, reason=str(error).removeprefix(f"{model_type}: "))
    except Exception as error:  # a default config that its own class refuses, a package that is not installed
        reason = " ".join(str(error).split())[:120]
        return Placed(model_type=model_type, model_class=class_name, reason=f"{type(error).__name__}: {reason}")
    table = inventory(model)
    if examine is not None:
        examine(model_type, model, table)
    total = int(table["numel"].sum())
    other = int(table.loc[table["component"] == "other", "numel"].sum())
    embedding, head = agreement(model, table)
    return Placed(
        model_type=model_type,
        model_class=class_name,
        parameters=total,
        other=other / total if total else 0.0,
        embedding_agrees=embedding,
        head_agrees=head,
        seconds=time.perf_counter() - begin,
    )


def agreement(model, table) -> tuple[bool, bool]:
    """Whether token embedding and LM head are placed where the model itself says they are.

    A head that is tied to any embedding of the model (T5Gemma's to its decoder's) is that embedding.
    """
    from torch import nn

    from hfcount.skeleton import head_is_tied, input_embeddings, output_embeddings

    parameters = dict(model.named_parameters(remove_duplicate=False))
    component = {id(parameters[name]): kind for name, kind in zip(table["name"], table["component"], strict=True)}
    tokens, head = input_embeddings(model), output_embeddings(model)
    reads_ids = isinstance(tokens, nn.Embedding)
    embedding = component.get(id(tokens.weight)) == "token_embedding" if reads_ids else True
    matrix = None if isinstance(head, nn.Embedding) else getattr(head, "weight", None)
    expected = "token_embedding" if matrix is not None and head_is_tied(model) else "lm_head"
    return embedding, matrix is None or component.get(id(matrix)) == expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, default="causal")
    parser.add_argument("--markdown", action="store_true", help="a Markdown table")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    found = list(survey(arguments.task))
    built, rest = [each for each in found if each.reason is None], [each for each in found if each.reason]
    edge, bar = ("| ", " | ") if arguments.markdown else ("", "  ")
    head = ["type", "class", "parameters", "other", "embedding", "LM head", "seconds"]
    print(edge + bar.join(head))
    if arguments.markdown:
        print("| --- | --- | ---: | ---: | --- | --- | ---: |")
    for each in built:
        yes = ["agrees" if flag else "DIFFERS" for flag in (each.embedding_agrees, each.head_agrees)]
        cells = [f"{each.model_type:24}", f"{each.model_class:40}", f"{each.parameters:>17,}", f"{each.other:7.2%}"]
        print(edge + bar.join([*cells, *yes, f"{each.seconds:.2f}"]))
    for each in rest:
        print(f"not built: {each.model_type} ({each.model_class}): {each.reason}")
    good = sum(each.other < 0.01 for each in built)
    print(f"\n{len(built)} of {len(found)} built; 'other' below 1 % in {good} ({good / len(built):.1%}); "
          f"embeddings agree in {sum(each.embedding_agrees for each in built)}, heads in {sum(each.head_agrees for each in built)}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
