"""Which circuit a checkpoint is of, however the circuit is folded."""

from __future__ import annotations

from tfp_spn._typing import Config
from tfp_spn.circuits.circuit import Circuit


def circuit_identity(circuit: Circuit) -> Config:
    """Structure, leaves and learning rules, ready for JSON; no parameters."""
    program = circuit.program
    rules = {(repr(spec.rule), spec.logspace) for spec in program.sum_specs}
    return {
        "structure": circuit.structure(),
        "leaf": {
            str(number): {
                **part.leaf.configuration(),
                "variables": part.variables.tolist(),
            }
            for number, part in enumerate(program.leaf.parts(program.step.layout))
        },
        "rules": sorted(map(list, rules)),
    }
