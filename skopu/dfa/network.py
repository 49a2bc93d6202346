"""Networks whose hidden layers can be cut from one another."""

import torch
from torch import nn

ACTIVATIONS = {
    "identity": lambda logits: logits,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class FeedbackNetwork(nn.Module):
    """Multilayer perceptron whose hidden layers can be cut from one another.

    Parameters
    ----------
    layers : list of nn.Module
        Affine maps with ``weight`` and ``bias``; the last gives the outputs.
    activation : {"identity", "logistic", "tanh", "relu"} or callable
    features : callable or None, default=None
        Applied to the last hidden layer's activations before the output layer.
    """

    def __init__(self, layers, activation, features=None):
        super().__init__()
        self.linear = nn.ModuleList(layers)
        self._activation = ACTIVATIONS.get(activation, activation)
        self._features = features

    def activations(self, X, local):
        """Return hidden activations, a list of (n, h), and outputs (n, q).

        ``local`` cuts the graph after each hidden layer, so that the gradient of a function of
        its activations reaches this layer's parameters only.
        """
        hidden = []
        for layer in self.linear[:-1]:
            H = self._activation(layer(X))
            hidden.append(H)
            X = H.detach() if local else H
        if self._features is not None:
            X = self._features(X)
        return hidden, self.linear[-1](X)

    def forward(self, X):
        """Return outputs (n, q)."""
        return self.activations(X, local=False)[1]


def affine(coef, intercept):
    """Return the affine layer of a coef (n_in, n_out) and an intercept (n_out,)."""
    # Without weights of its own, which would be drawn from the generator of the whole process.
    layer = nn.utils.skip_init(nn.Linear, *coef.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(coef.T))
        layer.bias.copy_(torch.from_numpy(intercept))
    return layer
