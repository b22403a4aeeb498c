"""Where a model's description comes from: a folder, a bundled card or the Hub, in that order."""

from __future__ import annotations

from hfcount.errors import NotFoundError, OfflineError
from hfcount.sources.cards import find_card, load_card, near_names
from hfcount.sources.describing import describe
from hfcount.sources.folder import is_model_folder, load_folder, refuse_bare_path
from hfcount.sources.hub import load_hub
from hfcount.sources.hub_repository import list_models
from hfcount.sources.source import Claim, Source

__all__ = ["Claim", "Source", "describe", "list_models", "resolve"]


def resolve(model: str, *, revision: str | None = None, offline: bool = False, timeout: float | None = None) -> Source:
    """The description of `model`: a folder with a config.json, the name or alias of a bundled card, else a Hub id.

    `hf:ID` always asks the Hub, `card:NAME` always the bundled card. A `revision` is asked of the Hub, since
    a card has none. Raises BadInput or SourceError, each a line that says what to do.
    """
    if model.startswith("card:"):
        return load_card(model.removeprefix("card:"))
    if model.startswith("hf:"):
        return load_hub(model.removeprefix("hf:"), revision=revision, offline=offline, timeout=timeout)
    if is_model_folder(model):
        return load_folder(model)
    if revision is None and find_card(model) is not None:
        return load_card(model)
    refuse_bare_path(model)
    hub_id = find_card(model) or model  # an alias with a revision still names its repository
    try:
        return load_hub(hub_id, revision=revision, offline=offline, timeout=timeout)
    except (NotFoundError, OfflineError) as error:
        near = near_names(hub_id)
        if not near:
            raise
        raise type(error)(f"{error}{near}", kind=error.kind) from error
