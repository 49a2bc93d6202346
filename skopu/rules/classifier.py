"""Classification by rules that are learned by gradient."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skopu._core.classification import LabelFit
from skopu._core.documented import Documented
from skopu._core.estimation import Prediction
from skopu._core.parameters import BOP, COUNT, NOT_NEGATIVE, POSITIVE, TRAINING
from skopu._core.random import draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.validation import StrOptions, validate_data
from skopu.rules.conditions import condition_matrix, make_conditions
from skopu.rules.rules import Rule, decide, drop_implied, order_rules, simplify


@dataclass(eq=False, repr=False)
class NeuralDNFClassifier(LabelFit, Prediction, ClassifierMixin, Documented):
    r"""IF-THEN rules in the units of the columns, learned by gradient.

    Each class has a formula in disjunctive normal form over conditions such as ``age <= 41``:

    .. math::

        r_j(x) = \prod_i \big(1 - W_{ji} (1 - x_i)\big), \qquad
        f(x) = 1 - \prod_j \big(1 - v_j r_j(x)\big),

    where :math:`x_i` is 1 if condition i holds, and the memberships W and v in {0, 1} minimise
    the squared error of f. They are trained by gradient [1]_, with :class:`~skopu.optim.Bop` or
    straight-through. By itself that gets stuck: a membership has a gradient only on rows where
    all other conditions of its rule hold, and no other rule does. Adaptive noise moves a
    membership w to :math:`w + \sigma \epsilon (1 - 2w)`, with uniform :math:`\epsilon` and a
    learned scale :math:`\sigma \in [0, \tfrac12]` for each one, so that failed conditions let
    something through.

    After training the rules are simplified, and ``predict`` says what :meth:`export_text`
    prints and nothing else: the first rule that holds decides. Two classes have one formula,
    for ``classes_[1]``; more have one each, against the rest.

    Parameters
    ----------
    n_rules : int, default=10
        Rules of a class in training; fewer may remain.
    n_thresholds : int, default=5
        Cuts of a numeric column, at evenly spaced quantiles. A column of two whole numbers
        gives the conditions ``= a`` and ``= b`` instead.
    weight_optimizer : {"bop", "ste"}, default="bop"
        How the memberships are trained: by flips of the binary ones, or by Adam on latent
        weights with the gradient of the binary ones.
    adaptive_noise : bool, default=True
        Perturb the memberships by a learned noise while training.
    literal_penalty : float, default=0.02
        Price of a condition in the loss, times the mean number of them in a rule. Larger
        values give shorter rules.
    learning_rate : float, default=0.01
        First learning rate of the latent weights and the noise (Adam, cosine decay to a
        thousandth).
    gamma : float, default=1e-3
        :math:`\gamma` of Bop.
    tau : float, default=1e-6
        :math:`\tau` of Bop.
    max_iter : int, default=1500
        Number of minibatches.
    batch_size : int, default=128
        Rows in a minibatch; all rows if there are fewer.
    torch_device : str, default="cpu"
        Where torch computes: "cpu", "cuda", or "auto", a graphics card where there is one.
    random_state : int, RandomState instance or None, default=None
        Source of the start, the noise and the minibatches.
    verbose : int, default=0
        Above 0: a progress bar with the loss.

    Attributes
    ----------
    rules_ : list of Rule
        In the order in which they are tried. A rule is a named tuple of ``label``,
        ``conditions``, ``precision`` (share of that label among the training rows on which
        it holds) and ``weight`` (of these rows); a condition one of ``feature`` (number of
        the column), ``operator`` ("<=", ">" or "=") and ``value``.
    default_ : object
        The label of rows on which no rule holds.
    classes_ : ndarray of shape (n_classes,)
        The labels of rows with a weight above zero, sorted.
    n_iter_ : int
        Minibatches done.
    history_ : dict of lists
        The record of training, in the columns that :class:`ConvergenceDisplay` describes.
        ``validation_loss`` is that of the rules without noise on all
        training rows, with the price of the conditions; the best is kept.
    n_features_in_, feature_names_in_
        Number of columns seen in ``fit``, and their names, if they had any.

    See Also
    --------
    SupervisedBinarizer : Codes for a kernel machine instead of rules to read.
    sklearn.tree.DecisionTreeClassifier : Rules that share their first conditions.

    References
    ----------
    .. [1] Lu, "On more interesting blocks with discrete parameters in deep learning", slides,
       2020.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skopu import NeuralDNFClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(
    ...     {"age": rng.integers(30, 50, 300), "income": rng.uniform(1, 6, 300).round(1)}
    ... )
    >>> y = np.where((X.age <= 41) & (X.income > 3.2), "yes", "no")
    >>> model = NeuralDNFClassifier(n_rules=2, n_thresholds=50, max_iter=200, random_state=0)
    >>> print(model.fit(X, y).export_text())
    if age <= 41 and income > 3.25: yes
    otherwise: no
    >>> model.rules_[0].conditions[0]
    Condition(feature=0, operator='<=', value=41.0)
    """

    _dtypes = np.float64  # cuts are compared with values to the last bit
    _parameter_constraints = {
        **BOP,
        **TRAINING,
        "n_rules": COUNT,
        "n_thresholds": COUNT,
        "weight_optimizer": [StrOptions({"bop", "ste"})],
        "adaptive_noise": ["boolean"],
        "literal_penalty": NOT_NEGATIVE,
        "learning_rate": POSITIVE,
    }

    n_rules: int = 10
    _: KW_ONLY
    n_thresholds: int = 5
    weight_optimizer: str = "bop"
    adaptive_noise: bool = True
    literal_penalty: float = 0.02
    learning_rate: float = 0.01
    gamma: float = 1e-3
    tau: float = 1e-6
    max_iter: int = 1500
    batch_size: int = 128
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _fit_codes(self, X, codes, weights):
        (seed,) = draw_seeds(self.random_state, 1)
        X, codes, weights, _ = merge_repeated_rows(X, codes[:, None].astype(float), weights)
        columns = X.tocsc() if issparse(X) else X
        conditions = make_conditions(columns, weights, self.n_thresholds)
        formulas = self._train(columns, conditions, codes, weights, seed)
        self._set_rules(formulas, columns, codes.ravel().astype(int), weights)

    def _train(self, X, conditions, codes, weights, seed):
        """Return the rules of each formula as lists of conditions, simplified."""
        # torch is loaded by the first fit, not by importing the package.
        from skopu.rules.training import train_dnf
        from skopu.training.history import History

        labels = self._formula_codes()
        if not conditions:
            self.history_, self.n_iter_ = History(1.0).as_dict(), 0
            return [[] for _ in labels]
        literals = condition_matrix(X, conditions)
        trained = train_dnf(literals, codes == labels, weights, settings=self, seed=seed)
        self.history_, self.n_iter_ = trained.history, trained.n_iter
        formulas = []
        for members, in_use in zip(trained.members, trained.in_use):
            bodies = [simplify([conditions[i] for i in np.flatnonzero(m)]) for m in members[in_use]]
            formulas.append(drop_implied([body for body in bodies if body is not None]))
        return formulas

    def _formula_codes(self):
        """Class numbers that have a formula: the second of two, or all."""
        n_classes = len(self.classes_)
        return np.arange(1, 2) if n_classes == 2 else np.arange(n_classes)

    def _set_rules(self, formulas, X, codes, weights):
        """Set ``rules_``, those that hold on some training row, and ``default_``."""
        labels, rules = self.classes_.tolist(), []
        missed = np.ones(len(codes), dtype=bool)
        for code, bodies in zip(self._formula_codes(), formulas):
            for body in bodies:
                rule = Rule(labels[code], body, 0.0, 0.0)
                held = rule.holds(X)
                missed &= ~held
                weight, hits = weights[held].sum(), weights[held & (codes == code)].sum()
                if weight > 0:
                    rules.append(rule._replace(precision=hits / weight, weight=float(weight)))
        self.rules_ = order_rules(rules, len(labels))
        self.default_ = labels[0]
        if len(labels) > 2:
            rest = missed if missed.any() else ~missed
            self.default_ = labels[np.bincount(codes[rest], weights=weights[rest]).argmax()]

    def _predicted(self, X):
        """Return the label of the first rule that holds, or the default."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csc", dtype=np.float64)
        return decide(self.rules_, self.default_, X, self.classes_.dtype)

    def export_text(self, feature_names=None, class_names=None) -> str:
        """Return the rules as text, one on each line.

        Cuts are printed in full: a program that follows the text predicts what ``predict``
        does.

        Parameters
        ----------
        feature_names : sequence of str or None, default=None
            Names of the columns; None: those of ``fit``, or x0, x1, ...
        class_names : sequence of str or None, default=None
            Names of the classes, in the order of ``classes_``; None: the labels.

        Returns
        -------
        text : str
            Such as "if age <= 41 and income > 3.2: yes"; the first line that holds decides.

        Raises
        ------
        ValueError
            If the names are not as many as the columns or the classes.
        """
        check_is_fitted(self)
        if feature_names is None:
            numbered = [f"x{number}" for number in range(self.n_features_in_)]
            feature_names = getattr(self, "feature_names_in_", numbered)
        _check_names("feature_names", feature_names, self.n_features_in_, "columns")
        labels = self.classes_.tolist()
        class_names = [str(label) for label in labels] if class_names is None else class_names
        _check_names("class_names", class_names, len(labels), "classes")
        named = dict(zip(labels, class_names))
        lines = [f"{rule.text(feature_names)}: {named[rule.label]}" for rule in self.rules_]
        return "\n".join([*lines, f"otherwise: {named[self.default_]}"])


def _check_names(argument, names, n_expected, what):
    if len(names) != n_expected:
        raise ValueError(
            f"{argument} has {len(names)} names for {n_expected} {what}: give one for each, or "
            "None."
        )
