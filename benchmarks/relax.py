"""RELAX (Grathwohl et al., 2018) beside the package: what a learned control variate is worth.

Like REBAR it subtracts a function of relaxed codes and gives its slope back, and needs no matrix:
the function is a network of codes and targets that models the *cost*. Here it has two hidden layers
of 64, starts as leave-one-out, and learns for 1000 steps, with encoder and readout held still, to
lower the mean square of the gradient in the logits; a part of training would give it less time.
Models, stages and figures are those of ``gradient_variance.py``: total variance of the encoder's
gradient relative to the squared norm of its mean, times the passes of a row and step. The passes
that the network learns from are not in it, and are printed. The last column is how far the mean of
RELAX is from the reference, in its standard errors (root mean square over weights; near 1).

    python benchmarks/relax.py
    python benchmarks/relax.py --steps 20 --repeats 10      # does it run?
"""

import argparse

import numpy as np
import torch
from gradient_variance import N_BITS, N_ROWS, REFERENCE, STAGES, gradients, load, make_model, train
from torch import nn

from skopu.gradients import REBAR, LeaveOneOut, Quadratic
from skopu.gradients.base import score
from skopu.gradients.relaxations import gumbel_sigmoid
from skopu.objectives import mean_of_others


class Relax(REBAR):
    """RELAX with leave-one-out of what its network leaves."""

    needs_known_matrix = False

    def __init__(self, n_draws=4, temperature=0.5, n_bits=N_BITS, n_outputs=1):
        super().__init__(n_draws, temperature=temperature)
        self.n_bits, self.n_outputs = n_bits, n_outputs
        sizes = n_bits + n_outputs, 64
        layers = [nn.Linear(*sizes), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)]
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)
        self.network = nn.Sequential(*layers)

    def control(self, codes, targets):
        """Return the network's guess of the costs (S, n) of relaxed codes (S, n, k)."""
        rows = torch.cat([codes - 0.5, targets.expand(len(codes), -1, -1)], -1)
        return self.network(rows).squeeze(-1)

    def surrogate(self, logits, draws, costs):
        """Return the sum of the three terms, shape (n,), with the graph of the network."""
        first, fresh = draws.uniforms
        relaxed = gumbel_sigmoid(logits, first, self.temperature)
        again = gumbel_sigmoid(logits, self._given(logits, draws.codes, fresh), self.temperature)
        guess = self.control(again.detach(), costs.targets)
        advantages = costs.values.detach() - costs.baselines - (guess - mean_of_others(guess))
        slopes = self.control(relaxed, costs.targets) - self.control(again, costs.targets)
        return score(logits, draws.codes, advantages) + slopes.mean(0)


def learn(relax, model, X, targets, n_steps, rng):
    """Lower the mean square of the gradient in the logits, by gradient; return the passes."""
    optimizer = torch.optim.Adam(relax.network.parameters(), lr=3e-3)
    model.gradient, model.learned = relax, nn.ParameterDict()
    before = model.n_passes
    for _ in range(n_steps):
        rows = rng.choice(len(X), N_ROWS, replace=False)
        with torch.no_grad():
            logits = model.encoder(X[rows])
            draws = relax.draw(logits, model.generator)
            predictions = model.predict(draws.codes)
        logits.requires_grad_()
        # The uniforms given the codes carry the graph of the logits: made where they are used.
        total = relax.surrogate(logits, draws, model.costs(draws, predictions, targets[rows])).sum()
        (slope,) = torch.autograd.grad(total, logits, create_graph=True)
        optimizer.zero_grad()
        slope.square().mean().backward()
        optimizer.step()
        model.answers.learn()
        model.mark()
    return model.n_passes - before


def measure(model, relax, batch, n_repeats):
    """Return variance times passes of each estimator, and how far RELAX is from the reference."""
    mean = gradients(model, REFERENCE, *batch, 2 * n_repeats).mean(0)
    found = []
    for estimator in (LeaveOneOut(4), relax, REBAR(4), Quadratic(4)):
        drawn = gradients(model, estimator, *batch, n_repeats)
        found.append(drawn.var(0).sum() / mean.square().sum() * estimator.n_passes(N_BITS))
        if estimator is relax:
            errors = (drawn.mean(0) - mean) / (drawn.std(0) / n_repeats**0.5)
    return [*found, errors.square().mean().sqrt()]


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1000, help="of the network")
    parser.add_argument("--repeats", type=int, default=200, help="gradients drawn of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| set, steps | loo | RELAX | its passes to learn | rebar | quadratic | agreement |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in ("diabetes", "breast cancer"):
        X, targets, loss = load(name)
        model, rng, done = make_model(X, targets, loss), np.random.default_rng(0), 0
        for stage in STAGES:
            train(model, X, targets, stage - done, rng)
            done = stage
            with torch.random.fork_rng():
                torch.manual_seed(0)
                relax = Relax(n_outputs=targets.shape[1])
            n_passes = learn(relax, model, X, targets, options.steps, rng)
            batch = X[:N_ROWS], targets[:N_ROWS]
            cells = [f"{value:.3g}" for value in measure(model, relax, batch, options.repeats)]
            cells.insert(2, f"{n_passes:,}")
            print(f"| {name}, {stage} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
