"""Fuzzers: hostile files, made from seeds by the thousand, and what reading them must never do.

Each is a script, and every case can be made again from its seed and its index::

    python -m tests.fuzz.pictures --count 1000000 --seed 0
    python -m tests.fuzz.pictures --seed 0 --case 1234 --keep tests/fuzz/regressions

`supervision` runs the cases in processes that may crash, hang or run out of memory.
`mutations` changes bytes, `structure` and `tiff_entries` know the parts of files, `bombs` makes
small files that unpack to much, and `headers` reads the size of a picture without Pillow.
"""
