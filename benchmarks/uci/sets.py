"""The data sets of the comparison."""

REGRESSION_SETS = ("boston", "energy", "yacht", "airfoil", "powerplant", "naval", "protein")
CLASSIFICATION_SETS = ("eeg", "mocap", "mocap@user2", "miniboo", "credit", "german")
SETS = REGRESSION_SETS + CLASSIFICATION_SETS
SMALL_SETS = ("boston", "energy", "yacht", "airfoil", "german")
