"""Loops that Numba compiles for the CPU: what they compute is said in the Ops methods they serve.

Imported when the first is needed. Compiled code is cached on disk, for each dtype.
"""

from combinet.ops.kernels import dense, embed, recurrent, sequence, update

__all__ = ["dense", "embed", "recurrent", "sequence", "update"]
