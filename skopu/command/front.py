"""Which command is meant: ``skopu fit``, ``predict``, ``device``, or the comparison."""

import sys

from skopu.comparison.cli import how_to_install
from skopu.comparison.cli import main as compare
from skopu.comparison.printing import let_go_of_output, say
from skopu.comparison.problems import InputError


def main(argv=None):
    """Run a command of ``skopu``.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None: those of the command line. The first one names the command; without a
        name, methods are compared. (A file of the name "fit" is given as "./fit".)

    Returns
    -------
    status : int
        0: done; 1: nothing worked, or the device has a fault; 2: the input is not usable;
        130: interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    command, output = _command(argv[0]) if argv else None, sys.stdout
    try:
        status = compare(argv) if command is None else command(argv[1:])
        return status or int(sys.stdout is not output)  # where there was no room for the results
    except InputError as error:
        say(f"skopu: error: {error}")
        return 2
    except ModuleNotFoundError as error:
        # What other extras bring says itself how to get it.
        is_plain = error.name in ("matplotlib", "pandas")
        say(f"skopu: error: {how_to_install('tables and pictures', error) if is_plain else error}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads has seen enough, as head has.
        let_go_of_output()
        return 128 + 13
    finally:
        sys.stdout = output


def _command(name):
    # Each command loads what it needs, and no more.
    if name == "fit":
        from skopu.command.fit import main as command
    elif name == "predict":
        from skopu.command.predict import main as command
    elif name == "device":
        from skopu.command.device import main as command
    else:
        return None
    return command
