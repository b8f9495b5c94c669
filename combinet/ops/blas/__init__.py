"""Matrix products on the CPU, and the threads of BLAS. Imports types and ops."""
