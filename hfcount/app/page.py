"""The page: the inputs on the left, the answers on the right, and what follows which.

A change is answered at once from the catalogue (`Answering.at_once`); then the class itself is built in the worker and
its figures replace those (`Answering.exactly`). An answer to what is no longer asked is dropped.
"""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr

from hfcount.app.answering import Answering, chosen_field, downloaded, known_fields, loaded_config, restored
from hfcount.app.answers import FILES
from hfcount.app.state import MAX_TEXT, NAMES, State
from hfcount.app.turns import Workers

TITLE = "hfcount"
INTRODUCTION = (
    "# hfcount\nHow many parameters a model has and where, why that is the number, and what training it would cost. "
    "No weight is downloaded, no code of a repository is run."
)
WITHOUT_TOKEN = "No Hub token is used: private and gated repositories are not shown."
WITH_TOKEN = "The owner's Hub token is used: whoever opens this page reads what the owner may read."

# Parameters that begin with two underscores are Gradio's own, such as __theme.
_SHOW_LINK = """(query) => {
    const own = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith("__"));
    const asked = [...new URLSearchParams(query), ...own];
    const text = new URLSearchParams(asked).toString();
    const path = location.pathname + (text ? "?" + text : "");
    if (query) history.replaceState(null, "", path);
    return query ? location.origin + path : "the pasted config is too long for a link";
}"""

# The file is made when it is asked for: the hidden button gets it, and is pressed once it has it.
_PRESS = """() => new Promise((done) => {
    let tries = 0;
    const timer = setInterval(() => {
        const link = document.querySelector("#file a[href], a#file[href]");
        if (link || ++tries > 50) { clearInterval(timer); (link || document.querySelector("#file")).click(); done(); }
    }, 50);
})"""


def build(workers: Workers | None = None, *, with_token: bool = False) -> gr.Blocks:
    """The page as Gradio's Blocks; `workers` build its models (default: its own)."""
    answering = Answering(workers or Workers(), with_token=with_token)
    access = {"with_token": with_token}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(f"{INTRODUCTION} {WITH_TOKEN if with_token else WITHOUT_TOKEN}")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=300):
                models, fields, load = _model_inputs()
                inputs = {**models, **_training_inputs()}
            with gr.Column(scale=5, min_width=300, elem_id="answers"):
                fault = gr.HTML(elem_id="link-fault", elem_classes="hf", padding=False, apply_default_css=False)
                results, link, query = _results()
                buttons = _buttons()
                file = gr.DownloadButton("The file", visible="hidden", elem_id="file")
        ordered = [inputs[name] for name in NAMES]
        outputs = list(results.values())
        begun, chosen = _wire_answers(page, answering, inputs, ordered, outputs, query, fault)
        _wire_fields(functools.partial(known_fields, **access), fields, inputs, ordered, (begun, chosen))
        _wire_rest(answering, with_token, load, buttons, file, inputs, ordered, results, query, link)
    return page


def _model_inputs() -> tuple[dict[str, Any], Any, Any]:
    """The components that say which model, by the state's fields; the list of its config's fields; the button that
    loads its config.json."""
    from hfcount.sources.cards import card_names

    start = State()
    found: dict[str, Any] = {
        "model": gr.Dropdown(
            card_names(), value=start.model, allow_custom_value=True, label="Model", elem_id="model",
            info="a bundled card, or type a Hub id",
        ),
    }  # fmt: skip
    fields = gr.Dropdown(
        [], value=None, label="Change a field of its config", info="pick one, then write another value below",
        elem_id="fields",
    )  # fmt: skip
    found["settings"] = gr.Textbox(
        start.settings, label="Changed fields", info="KEY=VALUE, a line each", lines=2, max_lines=12,
        placeholder="n_layer=24\nn_embd=1024", max_length=MAX_TEXT, elem_id="settings",
    )  # fmt: skip
    found["config"] = gr.Textbox(
        start.config, label="config.json", info="pasted here, it stands for the model", lines=2, max_lines=16,
        placeholder='{"model_type": "llama", ...}', elem_id="config",
    )  # fmt: skip
    load = gr.Button("Edit this model's config.json", size="sm", elem_id="load-config")
    found["figure"] = gr.Textbox(
        start.figure, label="Explain a figure", placeholder="117M", max_length=64, elem_id="figure",
        info="a published count: which way of counting gives it?",
    )  # fmt: skip
    return found, fields, load


def _training_inputs() -> dict[str, Any]:
    from hfcount.budget.gpus import gpus
    from hfcount.budget.optimizers import OPTIMIZERS
    from hfcount.budget.recipes import RECIPES
    from hfcount.lora.options import TARGET_GROUPS

    start = State()
    with gr.Row():
        ranks = gr.Textbox(start.ranks, label="LoRA ranks", max_length=80, min_width=120, elem_id="ranks")
        targets = gr.Dropdown(
            list(TARGET_GROUPS), value=start.targets, allow_custom_value=True, label="LoRA targets", min_width=140,
            elem_id="targets",
        )  # fmt: skip
    with gr.Row():
        batch = gr.Number(start.batch, label="Batch", precision=0, min_width=100, elem_id="batch")
        seq = gr.Number(
            start.seq, label="Tokens a row", precision=0, placeholder="the model's", min_width=100,
            elem_id="seq",
        )  # fmt: skip
    with gr.Row():
        precision = gr.Dropdown(
            list(RECIPES), value=start.precision, label="Precision", min_width=130, elem_id="precision"
        )
        optimizer = gr.Dropdown(
            list(OPTIMIZERS), value=start.optimizer, label="Optimizer", min_width=130, elem_id="optimizer"
        )
    return {
        "ranks": ranks, "targets": targets, "batch": batch, "seq": seq, "precision": precision, "optimizer": optimizer,
        "checkpointing": gr.Checkbox(start.checkpointing, label="Gradient checkpointing", elem_id="checkpointing"),
        "double_quant": gr.Checkbox(start.double_quant, label="Double quantization (QLoRA)", elem_id="double-quant"),
        "gpus": gr.Dropdown(
            [each.name for each in gpus()], value=[], multiselect=True, label="Does it fit on", elem_id="gpus"
        ),
    }  # fmt: skip


def _results() -> tuple[dict[str, Any], Any, Any]:
    """The components of the answer by the fields of Shown, the link's box, and the hidden query that it is made of."""
    shown: dict[str, Any] = {}

    def html(name: str) -> None:
        shown[name] = gr.HTML(elem_id=name, elem_classes="hf", padding=False, apply_default_css=False)

    for name in ("message", "headline", "status", "chart"):
        html(name)
    html("explanation")
    gr.Markdown("### Why that is the number")
    mathematics: list[dict[str, str | bool]] = [{"left": "$", "right": "$", "display": False}]
    shown["equations"] = gr.Markdown(elem_id="equations", latex_delimiters=mathematics)
    for title, name in (("Who counts how", "conventions"), ("LoRA", "lora"), ("Memory to train it", "budget")):
        gr.Markdown(f"### {title}")
        html(name)
    html("remarks")
    query = gr.Textbox(visible="hidden", elem_id="query")
    link = gr.Textbox(label="Link to this", buttons=["copy"], interactive=False, elem_id="link", max_lines=2)
    return shown, link, query


def _buttons() -> dict[str, Any]:
    with gr.Row():
        return {
            suffix: gr.Button(f"Download {suffix.upper()}", size="sm", min_width=120, elem_id=f"download-{suffix}")
            for suffix in FILES
        }


# Boxes whose `input` event Gradio raises for keys alone: what is pasted with the mouse would go unnoticed.
_TEXTS = ("settings", "config", "ranks", "figure")


def _triggers(inputs: dict[str, Any]) -> list[Any]:
    """What counts as a change; another model is an event of its own."""
    return [inputs[name].change if name in _TEXTS else inputs[name].input for name in NAMES if name != "model"]


def _wire_answers(
    page: gr.Blocks,
    answering: Answering,
    inputs: dict[str, Any],
    ordered: list[Any],
    outputs: list[Any],
    query: Any,
    fault: Any,
) -> tuple[Any, Any]:
    """At the beginning, and after each change: the answer at once, then the exact one.

    Returns the events that there is a model at the beginning, and that another one was chosen.
    """
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    begun = page.load(restored, query, [*ordered, fault], js="() => location.search", **quiet)
    chosen = inputs["model"].input(lambda: "", None, inputs["config"], **quiet)  # another model ends a pasted config
    changed = gr.on(
        _triggers(inputs), answering.at_once, ordered, [*outputs, query],
        trigger_mode="always_last", concurrency_limit=8, **quiet,
    )  # fmt: skip
    followed = [
        each.then(answering.at_once, ordered, [*outputs, query], concurrency_limit=8, trigger_mode="multiple", **quiet)
        for each in (begun, chosen)
    ]
    for each in (changed, *followed):
        each.then(
            answering.exactly, ordered, outputs,
            trigger_mode="multiple", concurrency_limit=None, **quiet,
        )  # fmt: skip
    return begun, chosen


def _wire_fields(known: Any, fields: Any, inputs: dict[str, Any], ordered: list[Any], models: tuple[Any, ...]) -> None:
    """The list has the fields of the model's config, and one that is picked becomes a line among the settings."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    for each in models:
        each.then(known, ordered, fields, **quiet)
    inputs["config"].change(known, ordered, fields, trigger_mode="always_last", **quiet)
    fields.input(chosen_field, [fields, inputs["settings"]], [inputs["settings"], fields], **quiet)


def _wire_rest(
    answering: Answering,
    with_token: bool,
    load: Any,
    buttons: dict[str, Any],
    file: Any,
    inputs: dict[str, Any],
    ordered: list[Any],
    results: dict[str, Any],
    query: Any,
    link: Any,
) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    query.change(None, query, link, js=_SHOW_LINK)
    outputs = list(results.values())
    load.click(
        functools.partial(loaded_config, with_token=with_token),
        ordered,
        [inputs["config"], results["message"]],
        **quiet,
    ).then(answering.at_once, ordered, [*outputs, query], **quiet)
    for suffix, button in buttons.items():
        made = button.click(
            downloaded(answering, suffix), ordered, [file, results["message"]],
            concurrency_limit=None, show_progress="minimal", show_progress_on=button,
            api_visibility="private",
        )  # fmt: skip
        made.success(None, None, None, js=_PRESS)
