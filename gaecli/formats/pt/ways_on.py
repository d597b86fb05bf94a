"""What makes a file that is read of one of `torch.save` that is none, by what its pickle says that it holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gaecli.formats.pt.pickled import PickledNode
from gaecli.shell_words import file_word

#: What may stand in the command as it is.
_PLAIN_KEY = re.compile(r"\w+")
_LINES = (
    "python -c 'import json, sys, torch; [print(json.dumps(dict((name, cell.tolist() if torch.is_tensor(cell) else "
    "cell) for name, cell in part.items()), default=str)) for part in torch.load(sys.argv[1], weights_only=True)"
)


def way_on(path: Path, tree: Any) -> str:
    """A list of dicts, as slime saves samples and others episodes or steps, becomes JSON lines."""
    key = _key_of_parts(tree)
    if key is None:
        return "save them as one: `torch.save` of a dict with a tensor of rewards, one of values, and those of flags"
    place = f'["{key}"]' if key else ""
    who = "samples as slime saves them, " if key == "samples" else "dicts in a list become a line each, "
    made = file_word(path.with_suffix(".jsonl"))
    return f"{who}if you trust the file: {_LINES}{place}]' {file_word(path)} > {made}"


def _key_of_parts(tree: Any) -> str | None:
    """Under which key the list of dicts stands; empty where it is all that there is, None where there is none."""
    if _holds_dicts(tree):
        return ""
    if not isinstance(tree, PickledNode) or not tree.is_dict:
        return None
    keys = [key for key, value in tree.items if _holds_dicts(value)]
    named = [key for key in keys if isinstance(key, str) and _PLAIN_KEY.fullmatch(key)]
    return named[0] if len(named) == len(keys) == 1 else None


def _holds_dicts(value: Any) -> bool:
    if not isinstance(value, PickledNode) or value.kind != "list" or not value.members:
        return False
    return all(isinstance(part, PickledNode) and part.is_dict for part in value.members)
