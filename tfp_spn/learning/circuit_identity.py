"""Which circuit a checkpoint is of, however the circuit is folded."""

from __future__ import annotations

import hashlib
from typing import Any

from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.dynamic_program import DynamicProgram
from tfp_spn.circuits.program import Program


def circuit_identity(circuit: Circuit) -> dict[str, Any]:
    """Structure, leaves and learning rules, ready for JSON; no parameters."""
    program = circuit.program
    step = program.step if isinstance(program, DynamicProgram) else program
    rules = {(repr(spec.rule), spec.logspace) for spec in program.sum_specs}
    return {
        "structure": circuit.structure(),
        "leaf": {
            str(number): {
                **part.leaf.configuration(),
                "variables": part.variables.tolist(),
            }
            for number, part in enumerate(program.leaf.parts(step.layout))
        },
        "rules": sorted(map(list, rules)),
    }


def folding_digest(program: Program | DynamicProgram) -> str:
    """A hash of the folded structure: what version 1 of checkpoints records."""
    if isinstance(program, DynamicProgram):
        shape = (program.num_steps, program.sum_product, program.chain_shapes)
        text = f"{folding_digest(program.step)} {shape}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
    digest = hashlib.sha256(repr(program.layout.scopes).encode())
    for gather in [*(g for s in program.steps for g in s.factors), program.root]:
        digest.update(repr((gather.sources, gather.index.tolist())).encode())
    return digest.hexdigest()[:16]
