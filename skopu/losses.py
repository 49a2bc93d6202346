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


LOSSES = {loss.name: loss for loss in (SquaredError, CrossEntropy)}
