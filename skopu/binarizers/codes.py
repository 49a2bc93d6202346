"""Codes given back to the binarizer that made them."""

from skopu.devices.base import check_codes


def check_own_codes(binarizer, codes):
    """Return codes as a uint8 array, checked to be as long as those of the binarizer.

    Raises
    ------
    NotBinaryError
        If a value is neither 0 nor 1.
    ValueError
        If the length is another.
    """
    codes = check_codes(codes, "X")
    if codes.shape[1] != binarizer._n_features_out:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but codes of this {type(binarizer).__name__} have "
            f"{binarizer._n_features_out} bits: give what transform returns."
        )
    return codes
