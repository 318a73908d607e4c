"""Loops over long chains give what one step after another gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs
from tfp_spn.layers.leaves.evidence import nothing_known
from tfp_spn.ops.certainty import CHECKED, EXACT
from tfp_spn.programs import evaluation, hard_flows, selection
from tfp_spn.programs.draws import mode, sample
from tfp_spn.programs.exact import ExactFlows
from tfp_spn.programs.examples import Examples
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.selected import over_all_regions
from tfp_spn.sum_ops import SumOpHardEMBackprop


def _chain():
    return circuits.from_region_graph(
        region_graphs.linear_tree(24), layers.BernoulliLeaf(3), 3, leaf_sums=False
    )


def _two_chains():
    # Side by side: two regions a step; examples choose one at the root.
    graph = region_graphs.linear_tree(20, 2, randomize=True, seed=1)
    return circuits.from_region_graph(
        graph, layers.NormalLeaf(2), 2, num_classes=3, leaf_sums=False
    )


def _hidden_chain():
    # A hidden Chow-Liu tree whose variables stand in a line.
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.random([400, 40]) < 0.1, axis=1) % 2
    graph = region_graphs.hidden_chow_liu_tree(x)
    return circuits.from_region_graph(graph, layers.BernoulliLeaf(4), 4)


CIRCUITS = {"chain": _chain, "two": _two_chains, "hidden": _hidden_chain}


@pytest.fixture(params=CIRCUITS)
def program_and_tables(request):
    circuit = CIRCUITS[request.param]()
    rng = np.random.default_rng(3)
    for variable in circuit.variables:
        variable.assign(variable + rng.normal(size=variable.shape) / 2)
    program = circuit.program
    params = {
        k: tf.convert_to_tensor(v)
        for k, v in distributions.SumProductNetwork(circuit).params.items()
    }
    return program, program.tables(params)


def _both(program, tables, is_exact=False):
    """The program step by step and with loops, each with its tables."""
    tables = tables.replaced(certainty=EXACT if is_exact else CHECKED)
    scanned, of_scans = program.in_scans(tables)
    assert max(step.length for step in scanned.steps) >= 16
    return (program, tables), (scanned, of_scans)


def _evidence(program, hidden_share):
    """A few examples of binary values, each with a mask of its own."""
    rng = np.random.default_rng(0)
    nothing = nothing_known(program.layout, 0, program.dtype)
    shape = [program.num_variables, 1, 6]
    return dataclasses.replace(
        nothing,
        x=tf.cast(rng.integers(0, 2, shape), program.dtype),
        observed=tf.constant(rng.random([shape[0], 6]) >= hidden_share),
        sample_shape=tf.constant([6]),
        static_sample_shape=tf.TensorShape([6]),
    )


def _at_fixed_quantiles(cumulative, seed, axis):
    """`index_of_quantile` by the number of the example: of regions in any order."""
    total = tf.reduce_max(cumulative, axis=axis, keepdims=True)
    num_examples = total.shape[-2 if axis == -1 else -1]
    share = np.float32(0.618 * np.arange(1, 1 + num_examples) % 1)
    share = share[:, np.newaxis] if axis == -1 else share
    exceeds = tf.cast(cumulative > total * share, tf.int32)
    return tf.argmax(exceeds, axis=axis, output_type=tf.int32)


@pytest.mark.parametrize("is_exact", [False, True])
def test_selections_are_equal(program_and_tables, is_exact, monkeypatch):
    monkeypatch.setattr(selection, "index_of_quantile", _at_fixed_quantiles)
    program, tables = program_and_tables
    leaves = program.leaf_values(tables, _evidence(program, 0.5))
    examples = Examples(tf.zeros([0], tf.int32), 0, tf.constant(6))
    found = []
    for loops in _both(program, tables, is_exact):

        def units(how, done=None, loops=loops):
            seed = tf.constant([4, 5])
            selected = selection.select_leaves(*loops, examples, seed, how, done)
            return over_all_regions(
                [selected], program.layout.num_regions, examples
            ).units

        given = evaluation.with_inputs(*loops, leaves, lambda e: units("sample", e))
        best = evaluation.evaluate_max(*loops, leaves)
        found.append([units("sample"), given, units("max", best)])
        assert (given.numpy() >= 0).sum(0).min() >= program.num_variables
    np.testing.assert_array_equal(*found)


def test_exact_values_are_equal(program_and_tables):
    program, tables = program_and_tables
    leaves = program.leaf_values(tables, _evidence(program, 0.2))
    found = [
        evaluation.with_inputs(*loops, leaves, lambda done: done.log_joint)
        for is_exact in (False, True)
        for loops in _both(program, tables, is_exact)
    ]
    for values in found[1:]:
        np.testing.assert_allclose(found[0], values, rtol=1e-5)


@pytest.mark.parametrize("rule", [None, SumOpHardEMBackprop()], ids=["own", "hard"])
def test_exact_flows_are_equal(program_and_tables, rule, monkeypatch):
    program, tables = program_and_tables
    leaves = program.leaf_values(tables, _evidence(program, 0.2))
    flow = tf.random.stateless_uniform([program.num_classes, 6], seed=(1, 2))

    def flows():
        return ExactFlows(rule)(program, EXACT, leaves, tables.log_weights, flow)

    found = flows()
    monkeypatch.setattr(FoldedProgram, "in_scans", lambda *loops: loops[:2])
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found,
        flows(),
    )


def test_impossible_evidence_stays_impossible(program_and_tables):
    program, tables = program_and_tables
    leaves = program.leaf_values(tables, _evidence(program, 0.0))
    leaves = tf.where(tf.range(6) < 2, -float("inf"), leaves)
    for loops in _both(program, tables, is_exact=True):
        for log_joint in (
            evaluation.with_inputs(*loops, leaves, lambda done: done.log_joint),
            evaluation.evaluate_max(*loops, leaves).log_joint,
        ):
            possible = np.isfinite(log_joint)
            np.testing.assert_array_equal(possible.all(0), np.arange(6) >= 2)
            assert not np.isnan(log_joint).any()


def test_hard_counts_are_equal(program_and_tables, monkeypatch):
    program, tables = program_and_tables
    hard = [
        step
        if step.sums is None
        else dataclasses.replace(
            step, sums=dataclasses.replace(step.sums, rule=SumOpHardEMBackprop())
        )
        for step in program.steps
    ]
    prior = program.prior and dataclasses.replace(
        program.prior, rule=SumOpHardEMBackprop()
    )
    program = dataclasses.replace(program, steps=tuple(hard), prior=prior)
    assert hard_flows.is_hard(program)
    leaves = program.leaf_values(tables, _evidence(program, 0.5))
    weights = tf.constant([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])

    def flows():
        return hard_flows.hard_flows(program, tables, leaves, weights, None)

    found = flows()
    monkeypatch.setattr(FoldedProgram, "in_scans", lambda *loops: loops[:2])
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, flows()
    )


def test_draws_take_loops(program_and_tables):
    program, tables = program_and_tables
    evidence = _evidence(program, 0.5)

    def names(draw):
        graph = tf.function(draw, autograph=False).get_concrete_function().graph
        return {op.type for op in graph.get_operations()}

    seed = tf.constant([1, 2])
    for draw in (
        lambda: sample(program, tables, tf.constant(5), seed),
        lambda: sample(program, tables, tf.constant(5), seed, evidence),
        lambda: mode(program, tables, evidence),
    ):
        assert names(draw) & {"While", "StatelessWhile"}
