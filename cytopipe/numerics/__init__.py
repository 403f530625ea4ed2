"""Numerical kernels that know neither files nor stages."""
