"""The administrator's page: its files, as they are served.

Decides: which files belong to the page. Has no code of the plugin beside the reading of them.
"""

import json
import re
from importlib.resources import files

SUFFIXES = (".html", ".css", ".js", ".json", ".svg")

EXPLORER = "explorer.js"
"""What extends Orthanc Explorer; it isn't served as a file of the page."""


_TEXTS = re.compile(r"texts\.(\w+)\.json")


def read_files() -> dict[str, bytes]:
    """Each file of the page by its name, and `languages.json`: the languages that there is a
    `texts.*.json` for, by their code, each with its own name."""
    found = {
        entry.name: entry.read_bytes()
        for entry in files(__package__).iterdir()
        if entry.name.endswith(SUFFIXES) and entry.name != EXPLORER
    }
    languages = {
        match[1]: json.loads(text)["language"]
        for name, text in sorted(found.items())
        if (match := _TEXTS.fullmatch(name))
    }
    found["languages.json"] = json.dumps(languages, ensure_ascii=False).encode()
    return found


def read_explorer_script() -> str:
    """The JavaScript that adds the buttons to Orthanc Explorer."""
    return files(__package__).joinpath(EXPLORER).read_text(encoding="utf-8")
