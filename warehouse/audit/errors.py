"""The mistakes of whoever audits a lake, one class each, as in `warehouse.errors`."""
