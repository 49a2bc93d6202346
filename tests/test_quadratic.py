"""Quadratic forms of random codes, and the expansion of losses, against sums over all codes."""

import numpy as np
import pytest
import torch
from oracles import all_codes, code_probabilities, exact_objective

from skopu.devices import SimulatedOPU
from skopu.forms.intensities import FittedIntensities, KnownIntensities
from skopu.forms.kernel import form_kernel
from skopu.forms.moments import Moments, PackedForm
from skopu.forms.quadratic import QuadraticForm
from skopu.losses import CrossEntropy, SecondOrder, SquaredError
from skopu.training.exact import ExactModels

N_BITS = 8
SPREADS = [0.5, 2.0, 8.0]  # of the logits: start, middle, sharp
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def random_forms(n_outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(n_outputs, 1 + N_BITS + N_BITS**2, generator=generator).double()
    pairs = parts[:, 1 + N_BITS :].unflatten(1, (N_BITS, N_BITS)).triu(1)
    return QuadraticForm(parts[:, 0], parts[:, 1 : 1 + N_BITS], pairs + pairs.mT)


def random_logits(spread, n_samples=7):
    return (
        spread * torch.randn(n_samples, N_BITS, generator=torch.Generator().manual_seed(1)).double()
    )


def answers(forms):
    """Values of the forms on every code, written out, shape (2^k, q)."""
    z = torch.from_numpy(all_codes(N_BITS)).double() - 0.5
    return forms.bias + z @ forms.linear.T + torch.einsum("ck,qkl,cl->cq", z, forms.pairs, z)


@pytest.mark.parametrize("spread", SPREADS)
class TestForms:
    def test_moments(self, spread):
        forms, logits = random_forms(), random_logits(spread)
        mean, variance = forms.moments(torch.sigmoid(logits))
        probabilities = code_probabilities(logits)
        expected = torch.einsum("cn,cq->nq", probabilities, answers(forms))
        deviations = answers(forms)[:, None] - expected
        torch.testing.assert_close(mean, expected, **TIGHT)
        torch.testing.assert_close(forms.mean(torch.sigmoid(logits)), expected, **TIGHT)
        spread = torch.einsum("cn,cnq->nq", probabilities, deviations**2)
        torch.testing.assert_close(variance, spread, **TIGHT)

    def test_variance_of_a_mixture(self, spread):
        forms, logits = random_forms(), random_logits(spread)
        weights = torch.randn(7, 3, generator=torch.Generator().manual_seed(2)).double()
        probabilities = code_probabilities(logits)
        values = answers(forms) @ weights.T  # (2^k, n)
        mean = (probabilities * values).sum(0)
        expected = (probabilities * (values - mean) ** 2).sum(0)
        found = forms.variance_of_mixture(torch.sigmoid(logits), weights)
        torch.testing.assert_close(found, expected, **TIGHT)

    def test_slopes_are_what_a_bit_changes(self, spread):
        forms, p = random_forms(), torch.sigmoid(random_logits(spread))
        slopes = forms.slopes(p)
        for bit in range(N_BITS):
            up, down = p.clone(), p.clone()
            up[:, bit], down[:, bit] = 1, 0
            change = forms.mean(up) - forms.mean(down)
            torch.testing.assert_close(slopes[..., bit].T, change, **TIGHT)

    @pytest.mark.parametrize("kappa", [1.0, 0.1, 0.0])
    def test_loss_and_gradient_of_the_objective(self, spread, kappa):
        """Squared error of closed-form moments against the enumerated objective."""
        forms, targets = random_forms(), torch.zeros(7, 3, dtype=torch.float64)
        losses, gradients = [], []
        for closed_form in (True, False):
            logits = random_logits(spread).requires_grad_()
            if closed_form:
                mean, variance = forms.moments(torch.sigmoid(logits))
                rows = SquaredError().value(mean, targets) + kappa * variance.sum(-1)
            else:
                rows = exact_objective(logits, answers(forms), targets, SquaredError(), kappa)
            rows.sum().backward()
            losses.append(rows.detach())
            gradients.append(logits.grad)
        torch.testing.assert_close(*losses, **TIGHT)
        torch.testing.assert_close(*gradients, **TIGHT)

    @pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
    def test_expected_expansion(self, spread, loss):
        """Oracle: the expansion itself, averaged over all codes."""
        forms, p = random_forms(), torch.sigmoid(random_logits(spread))
        targets = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2, 0]]
        mean, variance = forms.moments(p)
        expansion = SecondOrder(loss, mean + 0.1, targets)
        along = 0.0
        if expansion.direction is not None:
            along = forms.variance_of_mixture(p, expansion.direction)
        values = expansion.value(answers(forms)[:, None].expand(-1, 7, -1))
        expected = (code_probabilities(random_logits(spread)) * values).sum(0)
        torch.testing.assert_close(expansion.expected(mean, variance, along), expected, **TIGHT)


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_expansion_agrees_to_second_order(loss):
    """Oracle: automatic differentiation of the loss, once and twice."""
    centre = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.eye(3, dtype=torch.float64)[[1]]
    expansion = SecondOrder(loss, centre, targets)
    for derivative in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian):
        ours = derivative(lambda f: expansion.value(f).sum(), centre)
        theirs = derivative(lambda f: loss.value(f, targets).sum(), centre)
        torch.testing.assert_close(ours, theirs, **TIGHT)


def test_forms_of_bits():
    """Oracle: b + l'z + z'Qz, and slope times popcount plus bias, on every code."""
    generator = torch.Generator().manual_seed(3)
    bias, linear = torch.randn(2, generator=generator), torch.randn(2, N_BITS, generator=generator)
    Q = torch.randn(2, N_BITS, N_BITS, generator=generator)
    bias, linear, Q = bias.double(), linear.double(), (Q + Q.mT).double()
    z = torch.from_numpy(all_codes(N_BITS)).double()
    forms = QuadraticForm.from_bits(bias, linear, Q).plus_popcount(bias, 2 * bias)
    expected = 3 * bias + z @ linear.T + torch.einsum("ck,qkl,cl->cq", z, Q, z)
    torch.testing.assert_close(forms.mean(z), expected + z.sum(1)[:, None] * bias, **TIGHT)


def test_models_are_batched():
    """Oracle: each model's form alone."""
    alone = [random_forms(seed=0), random_forms(seed=1)]
    p = torch.sigmoid(random_logits(1.0))
    forms = QuadraticForm(*(torch.stack(parts) for parts in zip(*alone)))
    mean, variance = forms.moments(p.expand(2, -1, -1))
    for m, form in enumerate(alone):
        torch.testing.assert_close((mean[m], variance[m]), form.moments(p), **TIGHT)


def test_numpy_and_torch_agree():
    """Oracle: the same methods on tensors."""
    form, p = random_forms(), torch.sigmoid(random_logits(1.0))
    arrays = QuadraticForm(*(part.numpy() for part in form))
    np.testing.assert_allclose(arrays.mean(p.numpy()), form.mean(p), rtol=1e-12)
    np.testing.assert_allclose(arrays.slopes(p.numpy()), form.slopes(p), rtol=1e-12)
    for ours, theirs in zip(arrays.moments(p.numpy()), form.moments(p)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    bits = QuadraticForm.from_bits(*arrays), QuadraticForm.from_bits(*form)
    for ours, theirs in zip(*bits):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_form_of_a_kernel_machine():
    """Oracle: kernels with its rows, summed."""
    rng = np.random.default_rng(0)
    p, shares, bias = rng.random((9, N_BITS)), rng.standard_normal((9, 2)), np.array([1.0, 2.0])
    form = QuadraticForm.from_centred(shares, p - 0.5, bias)
    other = rng.random((5, N_BITS))
    np.testing.assert_allclose(form.mean(other), form_kernel(other, p) @ shares + bias)
    total = form.plus(form.scaled(2.0))
    np.testing.assert_allclose(total.mean(other), 3 * form.mean(other))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("has_variance", [True, False])
def test_gradients_of_moments(n_outputs, has_variance):
    """Oracle: automatic differentiation in float64, of two rounds in the same memory."""
    source = torch.Generator().manual_seed(0)
    memory = Moments(2, 7, N_BITS, n_outputs, torch.zeros((), dtype=torch.float64))
    for _ in range(2):
        flat = torch.randn(2, PackedForm.size(N_BITS, n_outputs), generator=source).double()
        packed = PackedForm(flat, N_BITS, n_outputs)
        packed.pairs_each.add_(packed.pairs_each.transpose(1, 3).clone())
        packed.pairs_each.diagonal(dim1=1, dim2=3).zero_()
        bias, linear, pairs = (part.clone() for part in packed.unpacked())
        logits = torch.randn(2, 7, N_BITS, generator=source).double()
        leaves = [part.requires_grad_() for part in (bias, linear, pairs, logits.clone())]
        upper = pairs.triu(1)  # a gradient for one half only
        form = QuadraticForm(bias, linear, upper + upper.mT)
        mean, variance = form.moments(torch.sigmoid(leaves[3]))
        slopes = torch.randn(2, 7, n_outputs, generator=source).double()
        prices = torch.randn(2, 7, 1, generator=source).double()
        (slopes * mean).sum().backward(retain_graph=has_variance)
        if has_variance:
            (prices * variance).sum().backward()
        memory.logits.copy_(logits)
        torch.testing.assert_close(memory.mean(packed), mean.detach(), **TIGHT)
        if has_variance:
            total = variance.detach().sum(-1)
            torch.testing.assert_close(memory.variance(packed), total, **TIGHT)
        into = PackedForm(torch.zeros_like(flat), N_BITS, n_outputs)
        found = memory.backward(packed, slopes, prices if has_variance else None, into)
        torch.testing.assert_close(found, leaves[3].grad, **TIGHT)
        for ours, theirs in zip(into.unpacked(), leaves):
            ours = ours.triu(1) if ours.ndim == 4 else ours
            torch.testing.assert_close(ours, theirs.grad, **TIGHT)


class TestIntensities:
    weights = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).double()

    @property
    def expected(self):
        intensities = SimulatedOPU().project(all_codes(N_BITS), 30)
        return torch.from_numpy(intensities).double() @ self.weights

    def test_known_matrix(self):
        """Oracle: the device itself, on every code, to the rounding of its float32."""
        known = KnownIntensities(SimulatedOPU().matrix(N_BITS, 30), self.weights)
        values = known.forms(self.weights).mean(torch.from_numpy(all_codes(N_BITS)).double())
        torch.testing.assert_close(values, self.expected, rtol=1e-5, atol=1e-4)

    def fitted(self, n_answers, noise=0.0, penalty=1e-3):
        rng = np.random.default_rng(0)
        fitted = FittedIntensities(N_BITS, penalty)
        for n_passes in range(0, n_answers, 8):
            codes = rng.integers(0, 2, (8, N_BITS)).astype(np.uint8)
            intensities = SimulatedOPU().project(codes, 30)
            intensities = intensities * (1 + noise * rng.standard_normal(intensities.shape))
            if fitted.wants_answers(n_passes):
                intensities = torch.from_numpy(intensities).float()
                fitted = fitted.with_answers(torch.from_numpy(codes), intensities, n_passes)
        values = fitted.forms(self.weights.float()).mean(
            torch.from_numpy(all_codes(N_BITS)).float()
        )
        return float((values - self.expected).square().mean() / self.expected.var())

    def test_fitted_to_enough_answers(self):
        """Oracle: the device on every code; 72 answers pin 36 weights, fewer do not."""
        assert self.fitted(72) < 1e-3
        assert self.fitted(72, penalty=1e-6) < 1e-6
        assert self.fitted(72) < self.fitted(24) < self.fitted(8) < 1

    def test_covariance_of_intensities(self):
        """Oracle: 200,000 independent rows of R; entries to 5 standard errors of a covariance."""
        codes = all_codes(4)
        intensities = SimulatedOPU(0).project(codes, 200_000).astype(np.float64)
        products = codes.astype(float) @ codes.T
        np.testing.assert_allclose(intensities.mean(1), np.diag(products), rtol=0.02)
        # The error of an entry is at most that of exponential variables of these variances.
        error = 5 * np.sqrt(8 / 200_000) * np.outer(np.diag(products), np.diag(products))
        assert (np.abs(np.cov(intensities) - products**2) <= error).all()

    @pytest.mark.parametrize(("gain", "dark"), [(1.0, 0.0), (0.3, 2.0)])
    def test_the_exact_covariance_explains_more(self, gain, dark):
        """Oracle: kernel ridge with the covariance of coefficients about one half, as if these
        were uncorrelated; on a camera with a gain and a dark level, too."""
        rng = np.random.default_rng(0)
        codes = rng.integers(0, 2, (300, 12)).astype(np.float32)
        answers = gain * SimulatedOPU(1).project(codes, 200) + dark
        n, penalty = 60, 1e-3
        seen = torch.from_numpy(codes[:n]), torch.from_numpy(answers[:n]).float()
        fitted = FittedIntensities(12, penalty).with_answers(*seen, 0)
        found = fitted.forms(torch.eye(200)).mean(torch.from_numpy(codes[n:])).numpy()

        products = (codes - 0.5) @ (codes[:n] - 0.5).T
        kernel = 12**2 + 13 / 2 * products + products**2 - 12 / 16
        noisy = kernel[:n] + penalty * 37 * 12 / 16 * np.eye(n)
        rough = kernel[n:] @ np.linalg.solve(noisy, answers[:n])
        left = [np.mean((guess - answers[n:]) ** 2) for guess in (found, rough)]
        assert left[0] < 0.95 * left[1]

    def test_fitted_to_noisy_answers(self):
        """Oracle: the noiseless device; with 5 % of noise the penalty is the share of noise."""
        assert self.fitted(72, noise=0.05, penalty=1e-2) < 0.02

    def test_answers_are_collected_ever_more_rarely(self):
        """Oracle: the schedule; 72 answers, then half as many after 4 times 64 passes, and on."""
        fitted, collected = FittedIntensities(N_BITS, 1e-3), []
        codes = torch.randint(0, 2, (8, N_BITS), generator=torch.Generator().manual_seed(0))
        for n_passes in range(0, 2000, 8):
            if fitted.wants_answers(n_passes):
                collected.append(n_passes)
                fitted = fitted.with_answers(codes, torch.ones(8, 30), n_passes)
        first, second, third = range(0, 72, 8), range(256, 296, 8), range(1152, 1192, 8)
        assert collected == [*first, *second, *third]

    def test_later_answers_are_fitted_too(self):
        """Oracle: the device after its gain has doubled, of which only later answers can tell."""
        rng, fitted, gains = np.random.default_rng(0), FittedIntensities(N_BITS, 1e-3), []
        codes = torch.from_numpy(rng.integers(0, 2, (36, N_BITS))).float()
        answers = torch.from_numpy(SimulatedOPU().project(codes.numpy().astype(np.uint8), 30))
        for n_passes, gain in [(0, 1), (36, 1), (400, 2)]:
            fitted = fitted.with_answers(codes, gain * answers, n_passes)
            values = fitted.forms(torch.eye(30)).mean(codes)
            gains.append(((values * answers).sum() / answers.square().sum()).item())
        assert gains[0] == pytest.approx(1, abs=0.05)
        assert gains[1] == pytest.approx(1, abs=0.05)
        assert gains[2] > 1.4  # half of the answers are the old ones


def test_exact_models_match_enumeration():
    """Oracle: the enumerated objective of a readout that is such a form, in float64."""
    from skopu.training.encoders import LinearEncoder

    encoder = LinearEncoder(4, N_BITS).double()
    X = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double()
    encoder.start(X, 0)
    models = ExactModels([encoder], 2, SquaredError(), [0.3], [0.0], [0.0]).double()
    forms = random_forms(2)
    packed = models.packed()
    with torch.no_grad():
        packed.bias.copy_(forms.bias)
        packed.linear.copy_(forms.linear.reshape(1, 1, -1))
        packed.pairs_each.copy_(forms.pairs.transpose(0, 1))
    targets = torch.randn(9, 2, generator=torch.Generator().manual_seed(4)).double()
    losses = models.losses(X[None], targets, torch.ones(9, dtype=torch.float64))
    expected = exact_objective(encoder(X), answers(forms), targets, SquaredError(), 0.3).mean()
    torch.testing.assert_close(losses[0], expected, **TIGHT)
