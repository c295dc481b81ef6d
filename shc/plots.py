"""All pictures, by one name: data in, `Figure` out. A notebook cell is one call, and tests look at the same figures.

Classes are drawn by `shc.class_plots`, hash centers by `shc.center_plots`, their limits by `shc.limit_plots`, their
structure by `shc.structure_plots` and `shc.tree_plots`, methods side by side by `shc.comparison_plots`, numbers by
`shc.charts`, images and codes by `shc.pictures`; the style is in `shc.figures`. Nothing here uses pyplot, so no hidden
state is left behind.
"""

from shc.center_plots import centers_map, distance_histogram, film_strip, similarity_vs_distance
from shc.charts import (
    bit_balance,
    draw_loss,
    optimization_curves,
    pr_curves,
    quantization_histogram,
    smoothed,
    training_curves,
)
from shc.class_plots import (
    center_similarity,
    class_dendrogram,
    confusion_heatmap,
    confusion_pairs,
    dendrogram_order,
    similarity_and_centers,
    similarity_heatmap,
)
from shc.comparison_plots import (
    dose_response,
    learning_speed,
    levels_and_difference,
    method_dots,
    methods_by_bits,
    paired_differences,
    paper_panel,
)
from shc.limit_plots import closest_pairs, compared_centers, distance_limits, loss_parts
from shc.pictures import code_strip, contact_sheet, retrieval_detail, retrieval_strips, worst_failures
from shc.structure_plots import bit_correlations, bit_meanings, code_maps, frontier_curves, stress_chart
from shc.tree_plots import tanglegram

__all__ = [
    "bit_balance", "bit_correlations", "bit_meanings", "center_similarity", "centers_map",
    "class_dendrogram", "closest_pairs", "code_maps", "code_strip", "compared_centers", "confusion_heatmap",
    "confusion_pairs", "contact_sheet", "dendrogram_order", "distance_histogram", "distance_limits", "dose_response",
    "draw_loss", "film_strip", "frontier_curves", "learning_speed", "levels_and_difference", "loss_parts",
    "method_dots", "methods_by_bits", "optimization_curves", "paired_differences", "paper_panel", "pr_curves",
    "quantization_histogram", "retrieval_detail", "retrieval_strips", "similarity_and_centers", "similarity_heatmap",
    "similarity_vs_distance", "smoothed", "stress_chart", "tanglegram", "training_curves", "worst_failures",
]  # fmt: skip
