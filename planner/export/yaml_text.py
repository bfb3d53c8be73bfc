"""Write YAML documents with a header, so that equal plans give equal bytes."""

from __future__ import annotations

from typing import Any

import yaml


class _Block(yaml.SafeDumper):
    """Writes texts of several lines as literal blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out each time."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Block.add_representer(str, _text)


def yaml_text(header: str, *documents: object) -> str:
    """Return the documents as YAML, after a header of comments."""
    return header + yaml.dump_all(
        documents, Dumper=_Block, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
