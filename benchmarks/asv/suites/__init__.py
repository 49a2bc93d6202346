"""Suites for asv: a module each for devices, features, ridge and so on.

Times are of one thread. ``track_`` results are ratios, which mean something on a busy machine.

    asv run --config benchmarks/asv/asv.conf.json --quick HEAD^!
    asv run --config benchmarks/asv/asv.conf.json --python=same --quick
"""
