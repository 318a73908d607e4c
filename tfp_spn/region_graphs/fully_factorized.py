"""The fully factorized region graph: all variables independent."""

from __future__ import annotations

from tfp_spn._arguments import a_count, reads
from tfp_spn.region_graphs.arguments import check_total
from tfp_spn.region_graphs.region_graph import RegionGraph


@reads(num_variables=a_count())
def fully_factorized(num_variables: int) -> RegionGraph:
    """Splits the root once, into all single variables.

    The circuit is a mixture of products of independent variables (naive Bayes with a
    hidden class); with one sum it is a product of independent variables.

    Args:
      num_variables: The number of variables.

    Returns:
      A `RegionGraph` whose region 0 is the root and whose region `v + 1` is variable
      `v`. With one variable it is a single region.

    Raises:
      ValueError: If `num_variables` is below one or too large for memory.

    Example:
      >>> fully_factorized(3).partitions[0]
      ((1, 2, 3),)
    """
    check_total(
        2 * num_variables,
        f"num_variables={num_variables} is too large",
        "Pass fewer variables.",
    )
    if num_variables == 1:
        return RegionGraph([(0,)], [])
    variables = range(num_variables)
    leaves = [(variable,) for variable in variables]
    return RegionGraph([variables, *leaves], [(0, range(1, num_variables + 1))])
