"""Learning the scale of features by gradient on a readout's leave-one-out error."""

import numpy as np
import torch
from scipy.optimize import minimize

_MAX_ITER = 50
_RANGE = 6.0  # log gamma stays this close to its start, e^6 = 400 either way


def learn_gamma(Phi, Y, alpha, per_feature, start):
    r"""Minimise the leave-one-out error of ridge on :math:`\gamma^2 \odot \phi`.

    Parameters
    ----------
    Phi : ndarray of shape (n, D)
        Features for gamma = 1.
    Y : ndarray of shape (n, q)
    alpha : float
        Of the readout, which has an intercept.
    per_feature : bool
        One gamma a column, or one for all.
    start : float
        Where to start.

    Returns
    -------
    gamma : ndarray of shape (D,), or float
    """
    Phi = torch.from_numpy(Phi.astype(np.float64))
    Y = torch.from_numpy(Y.astype(np.float64))
    Phi, Y = Phi - Phi.mean(0), Y - Y.mean(0)

    def value_and_slope(log_gamma):
        log_gamma = torch.tensor(log_gamma, requires_grad=True)
        error = _leave_one_out_error(Phi * torch.exp(2 * log_gamma), Y, alpha)
        error.backward()
        return error.item(), log_gamma.grad.numpy()

    centre = np.full(Phi.shape[1] if per_feature else 1, np.log(start))
    bounds = [(value - _RANGE, value + _RANGE) for value in centre]
    found = minimize(
        value_and_slope,
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_ITER},
    )
    gamma = np.exp(found.x)
    return gamma if per_feature else float(gamma[0])


def _leave_one_out_error(features, Y, alpha):
    """Mean squared leave-one-out residual of ridge on centred features and targets."""
    n_samples, n_features = features.shape
    dual = n_samples <= n_features
    system = features @ features.T if dual else features.T @ features
    # As much as the precision tells from zero: gamma may grow until it does not.
    alpha = max(alpha, len(system) * torch.finfo(system.dtype).eps * system.detach().trace().item())
    system = system + alpha * torch.eye(len(system), dtype=system.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
    if dual:
        residuals, slack = alpha * (inverse @ Y), alpha * inverse.diagonal()
    else:
        solved = features @ inverse
        residuals = Y - solved @ (features.T @ Y)
        slack = 1 - (solved * features).sum(1)
    # The intercept adds 1/n to each row's leverage.
    slack = (slack - 1 / n_samples).clamp_min(1e-10)
    return (residuals / slack[:, None]).square().mean()
