"""Variational autoencoders with circuits as prior and as likelihood.

    python examples/vae.py [--data IMAGES.npz] [--seeds 1] [--output vae_figures]

A convolutional encoder and decoder, in TFP and Keras 3, for images of zeros and ones:

    normal      z ~ N(0, I)                 pixels independent given z
    mixture     z ~ 16 Gaussians, learned   pixels independent given z
    spn_prior   z ~ a circuit, learned by gradient and by EM in turn; pixels independent
    spn_pixels  z ~ N(0, I)                 pixels from a circuit whose leaves depend on
                                            z: exact marginals and conditionals given z

Prints, for each, the evidence lower bound and the tighter importance-weighted bound on
test images, and draws samples, reconstructions, and completions of half-hidden images.
The default data come with scikit-learn; an npz file must hold arrays train_x and test_x
of images ``[N, height, width]``, height and width divisible by four.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import matplotlib

matplotlib.use("Agg")  # figures go to files: no screen is needed
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import layers
from sklearn.datasets import load_digits

import tfp_spn
from tfp_spn import visualization as vis
from tfp_spn.distributions import (
    ConditionalSumProductNetwork,
    DistributionLayer,
    SumProductNetwork,
)

tfd = tfp.distributions
KINDS = ("normal", "mixture", "spn_prior", "spn_pixels")
NUM_DRAWN = 8


@dataclass(frozen=True)
class Settings:
    """Images and how long to learn."""

    shape: tuple[int, int]
    x_train: np.ndarray  # [N, height * width], zeros and ones
    x_test: np.ndarray
    latent_dims: int
    channels: int
    epochs: int
    batch_size: int
    learning_rate: float
    num_weighted: int  # samples of the importance-weighted bound


def load_settings(path: Path | None, *, fast: bool) -> Settings:
    """Pixels become one where they are brighter than half."""
    if path is None:
        digits = load_digits().images / 16
        order = np.random.default_rng(0).permutation(len(digits))
        train, test = digits[order[:1297]], digits[order[1297:]]
        sizes = {"latent_dims": 8, "epochs": 60, "batch_size": 32, "num_weighted": 50}
        learning_rate = 5e-3
    else:
        with np.load(path) as data:
            train, test = data["train_x"][:10_000] / 255, data["test_x"][:2_000] / 255
        sizes = {"latent_dims": 16, "epochs": 20, "batch_size": 128, "num_weighted": 20}
        learning_rate = 2e-3
    if fast:
        train, test = train[:512], test[:128]
        sizes |= {"epochs": 2, "num_weighted": 5}
    shape = train.shape[1:]
    flat = [(x > 0.5).astype("float32").reshape(len(x), -1) for x in (train, test)]
    return Settings(shape, *flat, channels=16, learning_rate=learning_rate, **sizes)


# --- the parts ----------------------------------------------------------------------


def make_posterior(h: tf.Tensor) -> tfd.Distribution:
    loc, raw_scale = tf.split(h, 2, axis=-1)
    return tfd.MultivariateNormalDiag(loc, tf.math.softplus(raw_scale) + 1e-3)


def make_pixels(logits: tf.Tensor) -> tfd.Distribution:
    return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=tf.float32), 1)


def build_encoder(s: Settings) -> keras.Model:
    """Images to ``q(z | x)``."""
    return keras.Sequential(
        [
            keras.Input((s.x_train.shape[1],)),
            layers.Reshape((*s.shape, 1)),
            layers.Conv2D(s.channels, 3, 2, padding="same", activation="relu"),
            layers.Conv2D(2 * s.channels, 3, 2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(2 * s.latent_dims),
            DistributionLayer(make_posterior),
        ]
    )


def decoder_layers(s: Settings, num_outputs: int) -> list[layers.Layer]:
    """Latent variables to ``[height, width, num_outputs]``."""
    height, width = (size // 4 for size in s.shape)
    return [
        keras.Input((s.latent_dims,)),
        layers.Dense(height * width * 2 * s.channels, activation="relu"),
        layers.Reshape((height, width, 2 * s.channels)),
        layers.Conv2DTranspose(s.channels, 3, 2, padding="same", activation="relu"),
        layers.Conv2DTranspose(s.channels, 3, 2, padding="same", activation="relu"),
        layers.Conv2D(num_outputs, 3, padding="same"),
    ]


def build_decoder(s: Settings) -> keras.Model:
    """Latent variables to independent pixels."""
    pixels = DistributionLayer(make_pixels)
    return keras.Sequential([*decoder_layers(s, 1), layers.Flatten(), pixels])


def build_circuit_decoder(s: Settings, num_components: int = 4) -> layers.Layer:
    """Latent variables to a circuit over the pixels: ``z`` moves all its leaves.

    The sums, which say how neighbouring pixels go together, are the same for all z.
    """
    circuit = tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.quad_graph(s.shape),
        leaf=tfp_spn.layers.BernoulliLeaf(num_components),
        num_sums=num_components,
    )
    features = keras.Sequential(decoder_layers(s, num_components))
    h = layers.Reshape((-1, num_components, 1))(features.outputs[0])
    h = keras.ops.take(h, circuit.program.layout.slot_variable, axis=1)
    network = keras.Model(features.inputs[0], h)
    return ConditionalSumProductNetwork(circuit, "leaves", network)


class NormalPrior(layers.Layer):
    """``N(0, I)``."""

    def __init__(self, num_dims: int) -> None:
        super().__init__()
        self.num_dims = num_dims

    def distribution(self) -> tfd.Distribution:
        return tfd.MultivariateNormalDiag(tf.zeros([self.num_dims]))


class MixturePrior(layers.Layer):
    """A learned mixture of Gaussians."""

    def __init__(self, num_dims: int, num_components: int = 16) -> None:
        super().__init__()
        shape = (num_components, num_dims)
        self.loc = self.add_weight(shape=shape, initializer="random_normal", name="loc")
        self.raw_scale = self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(float(np.log(np.expm1(1.0)))),
            name="raw_scale",
        )
        self.logits = self.add_weight(
            shape=shape[:1], initializer="zeros", name="logits"
        )

    def distribution(self) -> tfd.Distribution:
        scale = tf.math.softplus(self.raw_scale.value)
        components = tfd.MultivariateNormalDiag(self.loc.value, scale)
        mixture = tfd.Categorical(logits=self.logits.value)
        return tfd.MixtureSameFamily(mixture, components)


class CircuitPrior(layers.Layer):
    """A learned circuit over the latent variables."""

    def __init__(self, num_dims: int, width: int = 16) -> None:
        super().__init__()
        self.circuit = tfp_spn.circuits.from_region_graph(
            tfp_spn.region_graphs.random_binary_trees(
                num_dims, depth=2, num_repetitions=4, seed=0
            ),
            leaf=tfp_spn.layers.NormalLeaf(
                width,
                location_initializer=keras.initializers.RandomNormal(stddev=0.5),
                scale_trainable=True,
                min_scale=0.05,
            ),
            num_sums=width,
        )

    def distribution(self) -> tfd.Distribution:
        return SumProductNetwork(self.circuit)


class VAE(keras.Model):
    """``p(z) p(x | z)`` and ``q(z | x)``; returns ``log p(x, z) - log q(z | x)``.

    In training ``log p(z) - log q(z | x)`` counts as much as `WarmUp` says.
    """

    def __init__(self, encoder: Any, decoder: Any, prior: Any) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.warmth = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="warmth"
        )

    def build(self, input_shape: Any) -> None:
        self.built = True  # all parts have their variables

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        posterior = self.encoder(x)
        z = posterior.sample()
        prior = self.prior.distribution()
        divergence = posterior.log_prob(z) - prior.log_prob(z)
        if training:
            divergence = divergence * self.warmth.value
        return self.decoder(z).log_prob(x) - divergence

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ) -> tf.Tensor:
        return -tf.reduce_mean(y_pred)


class WarmUp(keras.callbacks.Callback):
    """The divergence of ``q(z | x)`` from the prior gradually counts in full.

    Decoders that could do without z learn to use it first: Sonderby et al., Ladder
    variational autoencoders, NeurIPS 2016.
    """

    def __init__(self, num_epochs: float) -> None:
        super().__init__()
        self.num_epochs = num_epochs

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.warmth.assign(min((epoch + 1) / self.num_epochs, 1.0))


class MaximizePrior(keras.callbacks.Callback):
    """A step of EM for the circuit after each epoch, on draws of ``q(z | x)``."""

    def __init__(self, x: np.ndarray) -> None:
        super().__init__()
        self.x = x

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        z = self.model.encoder(self.x).sample()
        circuit = self.model.prior.circuit
        tfp_spn.learning.fit(
            circuit,
            z.numpy(),
            epochs=1,
            batch_size=len(z),
            pseudocount=1.0,
            verbose=False,
        )


def build_vae(kind: str, s: Settings, seed: int) -> VAE:
    keras.utils.set_random_seed(seed)  # equal encoders, whatever comes after them
    encoder = build_encoder(s)
    build = build_circuit_decoder if kind == "spn_pixels" else build_decoder
    decoder = build(s)
    priors = {"mixture": MixturePrior, "spn_prior": CircuitPrior}
    return VAE(encoder, decoder, priors.get(kind, NormalPrior)(s.latent_dims))


def train(kind: str, s: Settings, seed: int) -> VAE:
    vae = build_vae(kind, s, seed)
    steps = s.epochs * -(-len(s.x_train) // s.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(s.learning_rate, steps, alpha=0.02)
    vae.compile(keras.optimizers.Adam(rate))
    callbacks: list[keras.callbacks.Callback] = [WarmUp(s.epochs / 3)]
    if kind == "spn_prior":
        callbacks.append(MaximizePrior(s.x_train))
    vae.fit(
        s.x_train,
        batch_size=s.batch_size,
        epochs=s.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return vae


# --- what they are worth ------------------------------------------------------------


def bounds(vae: VAE, x: np.ndarray, num_weighted: int) -> tuple[np.ndarray, np.ndarray]:
    """Evidence lower bound, and the importance-weighted one, of each image in nats."""
    log_weights = tf.function(vae.call)
    batches = np.array_split(x, -(-len(x) // 500))
    drawn = [
        np.stack([log_weights(tf.constant(b)) for _ in range(num_weighted)])
        for b in batches
    ]
    weights = np.concatenate(drawn, axis=1)  # [samples, images]
    weighted = np.logaddexp.reduce(weights, axis=0) - np.log(num_weighted)
    return weights.mean(axis=0), weighted


def print_table(name: str, results: dict[str, list[np.ndarray]]) -> None:
    """Means and standard errors, and differences from the first kind.

    Errors are those over seeds; of a single seed, those over its test images.
    """
    first, *_ = results
    is_single = len(results[first]) == 1
    over = "images" if is_single else "seeds"
    print(f"\n{name}, nats per test image, errors over {over}", flush=True)
    by_kind = {
        kind: values[0] if is_single else np.mean(values, axis=1)
        for kind, values in results.items()
    }

    def with_error(values: np.ndarray) -> str:
        error = values.std(ddof=1) / len(values) ** 0.5
        return f"{values.mean():9.2f} +- {error:.2f}"

    for kind, values in by_kind.items():
        difference = with_error(values - by_kind[first])
        print(f"  {kind:<11}{with_error(values)}  less {first} {difference}")


# --- hidden pixels ------------------------------------------------------------------


def log_prob_of_visible(
    likelihood: tfd.Distribution, x: tf.Tensor, observed: np.ndarray
) -> tf.Tensor:
    if isinstance(likelihood, SumProductNetwork):
        return likelihood.log_prob(x, observed=observed)
    return tf.reduce_sum(likelihood.distribution.log_prob(x) * observed, axis=-1)


def infer(vae: VAE, x: np.ndarray, observed: np.ndarray) -> tfd.Distribution:
    """``q(z | visible pixels)``, fitted to each image, from the encoder's guess on."""
    start = vae.encoder(tf.constant(np.where(observed, x, 0.0)))
    loc = tf.Variable(start.loc)
    raw_scale = tf.Variable(tfp.math.softplus_inverse(start.stddev()))
    scale = tfp.util.DeferredTensor(raw_scale, tf.math.softplus)
    posterior = tfd.MultivariateNormalDiag(loc, scale)
    prior = vae.prior.distribution()

    def log_joint(z: tf.Tensor) -> tf.Tensor:
        visible = log_prob_of_visible(vae.decoder(z[0]), x, observed)
        return prior.log_prob(z) + visible

    tfp.vi.fit_surrogate_posterior(
        log_joint,
        posterior,
        optimizer=keras.optimizers.Adam(0.05),
        num_steps=100,
        trainable_variables=[loc, raw_scale],  # not the decoder's
        seed=1,
    )
    return posterior


def complete(
    vae: VAE, x: np.ndarray, observed: np.ndarray, num_samples: int = 30
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``log p(hidden | visible)`` of each image, and completions: mean and samples."""
    posterior = infer(vae, x, observed)

    @tf.function
    def draw(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        likelihood = vae.decoder(posterior.sample(seed=seed))
        visible = log_prob_of_visible(likelihood, x, observed)
        log_prob = likelihood.log_prob(x) - visible
        if isinstance(likelihood, SumProductNetwork):
            likelihood = likelihood.condition(x, observed)
        sample = likelihood.sample(seed=seed + 1)
        return log_prob, likelihood.mean(), tf.cast(sample, x.dtype)

    draws = [draw(tf.constant([number, 0])) for number in range(num_samples)]
    log_probs, means, samples = (
        np.stack([part.numpy() for part in parts]) for parts in zip(*draws, strict=True)
    )
    mean = np.where(observed, x, means.mean(axis=0))
    samples = np.where(observed, x, samples[:4])
    log_prob = np.logaddexp.reduce(log_probs, axis=0) - np.log(num_samples)
    return log_prob, mean, samples


def draw_figures(models: dict[str, VAE], s: Settings) -> Iterator[tuple[str, Any]]:
    """Figures with their names; prints what hidden pixels are worth."""
    style = {"shape": s.shape, "limits": (0, 1)}
    num_columns = 2 * NUM_DRAWN
    names = ", ".join(models)

    def draws(vae: VAE) -> np.ndarray:
        z = vae.prior.distribution().sample(num_columns, seed=(1, 0))
        return vae.decoder(z).sample(seed=(1, 1))

    images = np.concatenate([draws(vae) for vae in models.values()])
    title = f"Samples, a row each: {names}"
    yield (
        "samples",
        vis.plot_images(images, num_columns=num_columns, title=title, **style),
    )
    x = s.x_test[:num_columns]

    def means(vae: VAE) -> np.ndarray:
        return vae.decoder(vae.encoder(x).mean()).mean()

    images = np.concatenate([x, *(means(vae) for vae in models.values())])
    title = f"Test images and their reconstructions: {names}"
    yield (
        "reconstructions",
        vis.plot_images(images, num_columns=num_columns, title=title, **style),
    )
    x = s.x_test[:100]
    column = np.arange(x.shape[1]) % s.shape[1]
    observed = np.broadcast_to(column < s.shape[1] // 2, x.shape)
    print("\nHidden right half given the left, nats per test image (100 images)")
    for kind, vae in models.items():
        log_prob, mean, samples = complete(vae, x, observed)
        print(f"  {kind:<11}{log_prob.mean():9.2f}", flush=True)
        few = slice(NUM_DRAWN)
        figure = vis.plot_completions(
            x[few],
            observed[few],
            mean=mean[few],
            samples=samples[:, few],
            title=f"Right half hidden: {kind}",
            **style,
        )
        yield f"completions_{kind}", figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="npz file with train_x and test_x")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--output", type=Path, default=Path("vae_figures"))
    parser.add_argument("--fast", action="store_true", help="a try-out")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    start = time.perf_counter()
    s = load_settings(options.data, fast=options.fast)
    if options.epochs is not None:
        s = Settings(**{**vars(s), "epochs": options.epochs})
    print(f"{len(s.x_train)} training and {len(s.x_test)} test images of {s.shape}")
    results = {name: {k: [] for k in options.kinds} for name in ("ELBO", "weighted")}
    models: dict[str, VAE] = {}
    for seed in range(options.seeds):
        for kind in options.kinds:
            begin = time.perf_counter()
            vae = train(kind, s, seed)
            trained = time.perf_counter() - begin
            elbo, weighted = bounds(vae, s.x_test, s.num_weighted)
            results["ELBO"][kind].append(elbo)
            results["weighted"][kind].append(weighted)
            models.setdefault(kind, vae)  # those of the first seed are drawn
            print(
                f"  seed {seed} {kind:<11} ELBO {elbo.mean():8.2f}  weighted "
                f"{weighted.mean():8.2f}  trained in {trained:.0f} s",
                flush=True,
            )
    print_table("Evidence lower bound", results["ELBO"])
    print_table(f"Bound of {s.num_weighted} weighted samples", results["weighted"])
    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in draw_figures(models, s):
        figure.savefig(options.output / f"{name}.png", dpi=120)
        plt.close(figure)
    print(f"\nFigures in {options.output}, done in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
