"""Pictures of structures, images and learning curves, by matplotlib.

Every function returns the matplotlib object it drew on; it saves and shows nothing:
call ``savefig`` on a figure, or ``matplotlib.pyplot.show()``. `visualize_dense_spn`
alone returns a plotly figure. Both packages are optional dependencies (``pip install
"tfp_spn[visualization]"``) and are imported on first use.
"""

from tfp_spn.visualization.circuit import plot_circuit as plot_circuit
from tfp_spn.visualization.class_posteriors import (
    plot_class_posteriors as plot_class_posteriors,
)
from tfp_spn.visualization.completions import plot_completions as plot_completions
from tfp_spn.visualization.dense_spn import visualize_dense_spn as visualize_dense_spn
from tfp_spn.visualization.images import plot_images as plot_images
from tfp_spn.visualization.learning_curve import (
    plot_learning_curve as plot_learning_curve,
)
from tfp_spn.visualization.region_graph import plot_region_graph as plot_region_graph
from tfp_spn.visualization.spatial_scopes import (
    plot_spatial_scopes as plot_spatial_scopes,
)

__all__ = [
    "plot_circuit",
    "plot_class_posteriors",
    "plot_completions",
    "plot_images",
    "plot_learning_curve",
    "plot_region_graph",
    "plot_spatial_scopes",
    "visualize_dense_spn",
]
