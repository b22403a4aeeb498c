"""The page of `hfcount app` as a Hugging Face Space."""

from hfcount.app.page import build
from hfcount.app.serving import settings

# The process that counts starts this file again under another name, hence the guard.
if __name__ == "__main__":
    build().queue(default_concurrency_limit=4, max_size=200).launch(server_name="0.0.0.0", **settings())
