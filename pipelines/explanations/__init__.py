"""Why a model scores as it does: permutation, contributions, coefficients, partial dependence. All are bounded."""
