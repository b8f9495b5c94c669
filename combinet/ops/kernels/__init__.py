"""Loops that Numba compiles for the CPU. The methods of `Ops` document what they compute.

Imported when the first kernel is needed. Compiled code is cached on disk, for each dtype.
"""

from combinet.ops.kernels import dense, embed, recurrent, sequence, update

__all__ = ["dense", "embed", "recurrent", "sequence", "update"]
