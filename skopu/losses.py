"""Losses of a linear prediction, on tensors, row by row.

Shapes: predictions ``(..., n, q)`` with any leading draw axes, targets ``(n, q)``; values
``(..., n)``.
"""

import torch


class SquaredError:
    """Squared error summed over outputs, for regression: L(y, f) = |y - f|^2."""

    name = "squared_error"
    curvature = 1.0  # E[L] = L(E f) + curvature * Var f

    def value(self, predictions, targets):
        """Return L row by row."""
        return (targets - predictions).square().sum(-1)

    def slope(self, predictions, targets):
        """Return dL/df, of the shape of the predictions."""
        return 2 * (predictions - targets)

    def hessian(self, predictions):
        """Return d, of the shape of the predictions, and None: the Hessian is diag(d)."""
        return torch.full_like(predictions, 2.0), None


class CrossEntropy:
    """Softmax cross-entropy of logits, for one-hot targets: L(y, f) = logsumexp(f) - y.f."""

    name = "cross_entropy"
    curvature = 0.25  # E[L] <= L(E f) + curvature * Var f: half of the largest Hessian, 1/2

    def value(self, predictions, targets):
        """Return L row by row."""
        return predictions.logsumexp(-1) - (targets * predictions).sum(-1)

    def slope(self, predictions, targets):
        """Return dL/df, of the shape of the predictions."""
        return torch.softmax(predictions, -1) - targets

    def hessian(self, predictions):
        """Return d and u, of the shape of the predictions: the Hessian is diag(d) - uu'."""
        probabilities = torch.softmax(predictions, -1)
        return probabilities, probabilities


class SecondOrder:
    """A loss to second order about given predictions; squared error is its own.

    Parameters
    ----------
    loss : object with ``value``, ``slope`` and ``hessian``
    centre : Tensor of shape (n, q)
        Where the expansion is made.
    targets : Tensor of shape (n, q)

    Attributes
    ----------
    direction : Tensor of shape (n, q) or None
        u of the Hessian diag(d) - uu' at the centre.
    """

    def __init__(self, loss, centre, targets):
        self.centre = centre
        self._value = loss.value(centre, targets)
        self._slope = loss.slope(centre, targets)
        self._diagonal, self.direction = loss.hessian(centre)

    def value(self, predictions, targets=None):
        """Return the expansion row by row; the targets are those it was made with."""
        step = predictions - self.centre
        bend = (self._diagonal * step.square()).sum(-1)
        if self.direction is not None:
            bend = bend - (self.direction * step).sum(-1).square()
        return self._value + (self._slope * step).sum(-1) + bend / 2

    def expected(self, mean, variance, variance_along=0.0):
        """Return the mean of the expansion over random predictions, row by row.

        Parameters
        ----------
        mean, variance : Tensor of shape (n, q)
        variance_along : Tensor of shape (n,)
            Variance of the predictions' product with ``direction``, if there is one.
        """
        spread = (self._diagonal * variance).sum(-1) - variance_along
        return self.value(mean) + spread / 2


LOSSES = {loss.name: loss for loss in (SquaredError, CrossEntropy)}
