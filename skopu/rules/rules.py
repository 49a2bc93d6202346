"""Rules as data: simplification, and the list in which the first that holds decides."""

from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """If every condition holds, predict ``label``.

    ``precision`` is the share of rows with that label among the training rows on which the
    rule holds, and ``weight`` is the number of these rows (the sum of their weights).
    """

    label: object
    conditions: tuple
    precision: float
    weight: float

    def holds(self, X):
        """Return where every condition is true, shape (n,)."""
        return all_hold(self.conditions, X)

    def text(self, names):
        """Return the conditions in words."""
        words = " and ".join(condition.text(names) for condition in self.conditions)
        return f"if {words}" if words else "always"


def all_hold(conditions, X):
    """Return where every condition is true, shape (n,)."""
    truth = np.ones(X.shape[0], dtype=bool)
    for condition in conditions:
        truth &= condition.holds(X)
    return truth


def simplify(conditions):
    """Return the fewest of the conditions that say the same, or None if never true.

    Of several lower bounds of a column the largest remains, of several upper bounds the
    smallest. Bounds that exclude each other, or two values for one column, are never true.
    """
    kept = {}
    for condition in conditions:
        key = condition.feature, condition.operator
        held = kept.get(key)
        if held is None or _implies(condition, held):
            kept[key] = condition
        elif held.operator == "=" and held != condition:
            return None
    for feature, operator in kept:
        if operator != ">" or (feature, "<=") not in kept:
            continue
        if kept[feature, ">"].value >= kept[feature, "<="].value:
            return None
    return tuple(sorted(kept.values(), key=lambda condition: (condition.feature, condition.value)))


def drop_implied(bodies):
    """Drop repeated rules and rules that hold only where another holds anyway.

    Parameters
    ----------
    bodies : list of tuple of Condition
        Simplified conditions of rules for one label.

    Returns
    -------
    bodies : list of tuple of Condition
    """
    distinct = sorted(set(bodies))
    return [
        body
        for body in distinct
        if not any(
            all(_covers(body, condition) for condition in other)
            for other in distinct
            if other != body
        )
    ]


def order_rules(rules, n_classes):
    """Return the rules with the most reliable first.

    Reliability is the precision with one row of each class added to the rows of the rule
    (Laplace's rule of succession), so that a rule of a single row does not come first.
    """

    def reliability(rule):
        return (rule.precision * rule.weight + 1) / (rule.weight + n_classes)

    return sorted(rules, key=lambda rule: (-reliability(rule), rule.conditions))


def decide(rules, default, X, dtype):
    """Return the label of the first rule that holds, or the default, for each row of X."""
    labels = np.full(X.shape[0], default, dtype=dtype)
    for rule in reversed(rules):
        labels[rule.holds(X)] = rule.label
    return labels


def _implies(condition, other):
    """Whether a condition on the same column and of the same operator is as strict or more."""
    if condition.operator == "=":
        return condition.value == other.value
    if condition.operator == "<=":
        return condition.value <= other.value
    return condition.value >= other.value


def _covers(body, condition):
    """Whether some condition of the body implies this one."""
    same = [c for c in body if c[:2] == condition[:2]]
    return any(_implies(c, condition) for c in same)
