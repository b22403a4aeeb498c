"""The answers of hfcount on a local web page, or as a Space.

`state` is what a visitor has chosen, within limits; `link` writes it as a query of a URL and reads it back; `answers`
goes from a state to results in plain dicts; `worker` does so in a process of its own, where torch is; `views` makes
HTML of the results. These know nothing of Gradio; `page` lays them out, `serving` launches the page.
"""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # which Gradio reads when it is imported
