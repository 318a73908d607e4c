"""Products over windows of cells."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, a_flag, a_seed, reads, rows_and_columns
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor
from tfp_spn.layers.regions.region_layer import Shape
from tfp_spn.layers.spatial.channel_choice import all_combinations, random_combinations
from tfp_spn.layers.spatial.grid_scopes import GridScopes
from tfp_spn.layers.spatial.spatial_layer import SpatialLayer
from tfp_spn.ops.products import log_hadamard
from tfp_spn.ops.windows import AxisWindows, GridWindows

_MOST_CHANNELS = 2**16
_PADDINGS = ("valid", "full", "final")
_AXES = ("height", "width")


@register
class Conv2DProduct(SpatialLayer):
    """Products over windows of cells, as a convolution of log-values.

        log y[i, j, k] = sum_ab log x[i s + a d - p, j s + b d - p, channel_ab(k)]

    with strides ``s``, dilations ``d`` and padding ``p``. A position in the padding
    contributes nothing (log-value 0: a variable integrated out). With
    ``depthwise=True`` channel ``k`` multiplies the channels ``k`` of all cells.
    Otherwise each output channel multiplies another combination of channels.

    A product is valid when its factors share no pixel. Strides of the kernel's size
    with dilations 1 never overlap; above them, ``padding="full"`` with strides 1 and
    dilations 1, 2, 4, ... makes overlapping windows of disjoint scopes [1], and
    ``padding="final"`` leaves cells that cover everything. Scopes are checked when the
    model's input shape is known, and again by `tfp_spn.circuits.from_layers`.

    In contrast to LibSPN-Keras there is no arithmetic with kernels of zeros and ones:
    impossible values (``-inf``) are legal, nothing overlaps unnoticed, and combinations
    of channels are distinct, balanced (each cell uses its channels equally often, up
    to one) and seeded. Cells that would be dropped because strides do not divide the
    input, and a `num_channels` beyond all combinations, are errors.

    Args:
        strides: Distances between windows, down and across.
        dilations: Distances between the cells of a window, down and across.
        kernel_size: Cells of a window, down and across.
        num_channels: Channels of the output. Default: all combinations, ``channels **
            (kernel height * kernel width)``, the first cell's channel the fastest
            index. Ignored if `depthwise`.
        padding: ``"valid"``: none. ``"full"``: ``(kernel - 1) * dilation`` on both
            sides. ``"final"``: above and to the left only, so much that ``(kernel - 1)
            * dilation`` windows (of stride 1) are left.
        depthwise: Whether to multiply channels of equal index.
        seed: Seed of the combinations where `num_channels` is less than all. `None`
            draws one from Python's generator (`keras.utils.set_random_seed`); the
            combinations are saved with the weights either way.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, height, width, channels]``.

    Output shape:
        ``[batch, height_out, width_out, channels_out]``, where each length is ``(size +
        padding - (kernel - 1) * dilation - 1) / stride + 1``.

    Raises:
        ValueError: For arguments or shapes that do not fit, and for factors that share
            pixels.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.Conv2DProduct(
        ...     strides=[1, 1], dilations=[2, 2], kernel_size=[2, 2], padding="full",
        ...     depthwise=True)
        >>> layer.compute_output_shape((None, 8, 8, 32))
        (None, 10, 10, 32)

    References:
        [1]: van de Wolfshaar and Pronobis. Deep Generalized Convolutional Sum-Product
            Networks. PGM, 2020.
    """

    @reads(
        strides=rows_and_columns,
        dilations=rows_and_columns,
        kernel_size=rows_and_columns,
        num_channels=a_count(),
        depthwise=a_flag(),
        seed=a_seed(),
    )
    def __init__(
        self,
        strides: Sequence[int],
        dilations: Sequence[int],
        kernel_size: Sequence[int],
        num_channels: int | None = None,
        padding: str = "valid",
        depthwise: bool = False,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.strides = strides
        self.dilations = dilations
        self.kernel_size = kernel_size
        self.num_channels = num_channels
        if padding not in _PADDINGS:
            raise ValueError(
                f"{self.label}: received padding={padding!r}, expected one of "
                f"{list(_PADDINGS)}. Use 'final' for the topmost product."
            )
        self.padding = padding
        self.depthwise = depthwise
        self.seed = seed
        # As Keras' own initializers do, see tfp_spn.initializers.Dirichlet.
        self._seed = random.randint(1, 10**9) if seed is None else seed
        self._channels = 0
        self.channel_table: Any = None

    def build(self, input_shape: Shape) -> None:
        """Draws the combinations of channels."""
        _, _, channels = self.check_input_shape(input_shape)
        self.windows(input_shape)
        channels_out, positions = self._num_outputs(channels), self._num_positions
        self._channels = channels
        if not self.depthwise and channels_out < channels**positions:
            rng = np.random.default_rng(self._seed)
            table = random_combinations(channels, positions, channels_out, rng)
            self.channel_table = self.add_table("channel_table", table)
        self.built = True

    @property
    def combinations(self) -> np.ndarray | None:
        """int32 ``[positions, channels_out]``: which channel of each cell is a factor.

        `None` if `depthwise`. Known once the layer is built.
        """
        if self.depthwise or not self._channels:
            return None
        if self.channel_table is None:
            return all_combinations(self._channels, self._num_positions)
        with tf.init_scope():  # a concrete value also while a graph is traced
            return self.channel_table.value.numpy()

    def windows(self, input_shape: Shape) -> GridWindows:
        """Returns where the windows lie.

        Raises:
            ValueError: If they do not fit the input.
        """
        height, width, _ = self.check_input_shape(input_shape)
        return GridWindows(self._along(0, height), self._along(1, width))

    def call(self, x: Tensor) -> Tensor:
        """Multiplies."""
        windows = self.windows(x.shape)
        if self.depthwise:
            return windows.sum(x, axis=1)
        if self.channel_table is None:
            table = tf.constant(all_combinations(x.shape[-1], windows.num_positions))
        else:
            table = self.channel_table.value
        cells = windows.take(x, axis=1)
        return log_hadamard(
            [tf.gather(x, table[place], axis=-1) for place, x in enumerate(cells)]
        )

    def scopes_out(self, scopes: GridScopes) -> GridScopes:
        """Unions over the windows; raises if they overlap."""
        return scopes.product(self.windows((None, *scopes.shape, 1)), self.label)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``[batch, height_out, width_out, channels_out]``."""
        _, _, channels = self.check_input_shape(input_shape)
        shape = self.windows(input_shape).shape
        return (input_shape[0], *shape, self._num_outputs(channels))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "kernel_size": list(self.kernel_size),
            "num_channels": self.num_channels,
            "padding": self.padding,
            "depthwise": self.depthwise,
            "seed": self.seed,
        }

    @property
    def _num_positions(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def _num_outputs(self, channels: int) -> int:
        if self.depthwise:
            return channels
        total = channels**self._num_positions
        if self.num_channels is None:
            if total > _MOST_CHANNELS:
                raise ValueError(
                    f"{self.label}: received num_channels=None for {channels} channels "
                    f"in each of {self._num_positions} cells, which makes {total} "
                    f"channels; expected at most {_MOST_CHANNELS}. Pass depthwise=True "
                    "or num_channels."
                )
            return total
        if self.num_channels > total:
            raise ValueError(
                f"{self.label}: received num_channels={self.num_channels}, expected at "
                f"most {total}: as many combinations there are of {channels} channels "
                f"in each of {self._num_positions} cells. Reduce num_channels, or "
                "leave it out for all of them."
            )
        return self.num_channels

    def _along(self, axis: int, size: int) -> AxisWindows:
        """The windows along one axis, if they fit."""
        kernel, stride = self.kernel_size[axis], self.strides[axis]
        dilation = self.dilations[axis]
        reach = (kernel - 1) * dilation
        before = after = 0
        if self.padding == "full":
            before = after = reach
        elif self.padding == "final" and kernel > 1:
            before = 2 * reach - size
        windows = AxisWindows(size, kernel, stride, dilation, before, after)
        received = (
            f"{self.label}: received {_AXES[axis]} {size} with kernel_size {kernel}, "
            f"dilation {dilation}, stride {stride} and padding={self.padding!r}"
        )
        if before < 0:
            raise ValueError(
                f"{received}, which pads {before} cells; expected twice the reach "
                f"(kernel_size - 1) * dilation = {reach} to be at least {size}. Use a "
                f"dilation of at least {-(-size // (2 * (kernel - 1)))}, or a further "
                "product with padding='full' below."
            )
        if size + before + after < windows.extent:
            raise ValueError(
                f"{received}: the kernel spans {windows.extent} cells; expected at "
                f"most {size + before + after}. Use a smaller kernel or dilation, or "
                "padding='full'."
            )
        rest = (size + before + after - windows.extent) % stride
        if rest > after:  # else it is padding that the windows leave out
            rest -= after
            raise ValueError(
                f"{received}: the windows leave {rest} cells out; expected a size like "
                f"{size - rest} or {size - rest + stride}. Resize or pad the images, "
                "or use another stride."
            )
        return windows
