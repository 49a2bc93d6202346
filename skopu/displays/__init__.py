"""Pictures of fitted estimators, in the manner of scikit-learn's displays."""
