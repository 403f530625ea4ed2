"""The rigid transform between two sections."""
