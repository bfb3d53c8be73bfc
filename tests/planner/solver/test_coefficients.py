"""Test the sparse matrix of the rows' coefficients."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.solver.coefficients import sparse

ROWS = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([0, 0, 1, 5]), min_size=n, max_size=n), max_size=4)
)


@given(ROWS, st.data())
def test_sparse_matrix_is_the_dense_one(rows: list[list[int]], data: st.DataObject) -> None:
    """Products with duals and with contents, and the largest entries, are those of the dense matrix."""
    n = len(rows[0]) if rows else 2
    dense = np.array(rows, dtype=np.int64).reshape(len(rows), n)
    matrix = sparse(n, list(dense))
    duals = np.array(
        data.draw(st.lists(st.integers(0, 10**13), min_size=len(rows), max_size=len(rows))), dtype=np.int64
    )
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=np.int64)
    assert matrix.earned(duals).tolist() == (duals @ dense).tolist()
    assert matrix.earned(duals.astype(np.float64)).tolist() == (duals.astype(np.float64) @ dense).tolist()
    served = matrix.served([(i, int(c)) for i, c in enumerate(counts) if c])
    assert [served.get(j, 0) for j in range(len(rows))] == (dense @ counts).tolist()
    assert matrix.largest().tolist() == [max(row) for row in rows]
