"""The script that draws the page's charts: plotly.js, as the package plotly holds it."""

from __future__ import annotations


def plotly_script() -> str:
    """Return plotly.js, 4.8 MB, which defines ``Plotly``; its licence is MIT, and the first lines say so."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
