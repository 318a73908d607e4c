"""The module in which LibSPN-Keras keeps `visualize_dense_spn`.

All drawings are in `tfp_spn.visualization`.
"""

from tfp_spn.visualization.dense_spn import visualize_dense_spn as visualize_dense_spn

__all__ = ["visualize_dense_spn"]
