"""Calls that are written down as they are made."""

import keras
import numpy as np

import tfp_spn
from tfp_spn.structure.script import Script


def test_values_are_written_by_their_names():
    x = np.zeros([4, 3], "int64")
    script = Script(x=x)
    train, valid = script.let(
        "train, valid", tfp_spn.structure.split_table, x, validation_data=x, seed=3
    )
    other = script.copy()
    leaf = script.call(tfp_spn.layers.NormalLeaf, 2, scale_trainable=True)
    pairs = [(leaf, [0, 2]), (tfp_spn.layers.BernoulliLeaf(2), (1,))]
    mixed = script.let("leaf", tfp_spn.layers.MixedLeaf, pairs, name="a")
    step = script.call(keras.optimizers.schedules.CosineDecay, 0.3, 7)
    data = train.data
    script.write("", tfp_spn.fit, mixed, **data, validation_data=valid, step_size=step)
    lines = str(script).split("\n")
    assert lines[:4] == [
        "import keras",
        "import tfp_spn",
        "# x: as `learn` had them",
        "train, valid = tfp_spn.structure.split_table(x, validation_data=x, seed=3)",
    ]
    written = " ".join(line.strip() for line in lines[4:]).replace("( ", "(")
    assert (
        "leaf = tfp_spn.layers.MixedLeaf("
        "[(tfp_spn.layers.NormalLeaf(2, scale_trainable=True), [0, 2]), (" in written
    )
    assert written.endswith(
        "tfp_spn.fit(leaf, **train.data, validation_data=valid, "
        "step_size=keras.optimizers.schedules.CosineDecay(0.3, 7))"
    )
    assert max(map(len, lines)) <= 88
    assert str(other).split("\n") == lines[1:4]
    names = {"x": x}
    exec(str(other), names)
    np.testing.assert_array_equal(names["train"].values, train.values)
