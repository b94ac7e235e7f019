"""Draw the scores of a query: a histogram over a fixed sample of the collection, with the bounds and the hits."""

import html

import gradio as gr
import numpy as np

from imgsearch.records import SearchResult
from imgsearch.web.i18n import format_number, tr

NUM_BARS = 40
WIDTH, HEIGHT, FOOT = 640, 150, 34  # of the drawing, in SVG units; the foot holds the axis


def histogram(result: SearchResult, request: gr.Request) -> str:
    """Return the histogram as SVG; "" if the sample has fewer than 2 scores."""
    scores = np.array([*result.sample, *(hit.score for hit in result.hits)])
    if len(result.sample) < 2:
        return ""
    low, high = float(scores.min()), float(max(scores.max(), *(result.bounds or (0.0,))))
    low, high = (low, high) if high > low else (low - 0.01, high + 0.01)
    counts, edges = np.histogram(result.sample, NUM_BARS, (low, high))

    def x(score: float) -> float:
        return (score - low) / (high - low) * WIDTH

    tallest = max(int(counts.max()), 1)
    bars = []
    for count, left in zip(counts.tolist(), edges.tolist(), strict=False):
        height = count / tallest * (HEIGHT - FOOT - 16)
        kind = _strength(left + (high - low) / NUM_BARS / 2, result.bounds)
        bars.append(
            f'<rect class="{kind}" x="{x(left):.1f}" y="{HEIGHT - FOOT - height:.1f}" '
            f'width="{WIDTH / NUM_BARS - 1:.1f}" height="{height:.1f}"/>'
        )
    bounds = zip(("fair", "strong"), result.bounds, strict=True) if result.bounds else ()
    lines = [_line(x(bound), tr(name, request)) for name, bound in bounds]
    ticks = [_tick(x(score), format_number(score, request, 2)) for score in (low, high)]
    marks = [f'<circle cx="{x(hit.score):.1f}" cy="{HEIGHT - FOOT + 4}" r="2.5"/>' for hit in result.hits]
    title = html.escape(tr("scores_axis", request))
    return (
        f'<svg class="scores" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join([*bars, *lines, *marks, *ticks])}"
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 2}" text-anchor="middle">{title}</text></svg>'
    )


def _strength(score: float, bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return "fair"
    return "strong" if score >= bounds[1] else "fair" if score >= bounds[0] else "weak"


def _line(x: float, name: str) -> str:
    anchor = "end" if x > 0.8 * WIDTH else "start"
    shift = -4 if anchor == "end" else 4
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT - FOOT}"/>'
        f'<text x="{x + shift:.1f}" y="11" text-anchor="{anchor}">{html.escape(name)}</text>'
    )


def _tick(x: float, text: str) -> str:
    anchor = "start" if x < WIDTH / 2 else "end"
    return f'<text x="{x:.1f}" y="{HEIGHT - FOOT + 20}" text-anchor="{anchor}">{text}</text>'
