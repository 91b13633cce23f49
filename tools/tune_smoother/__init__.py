"""``mien tune-smoother``: how the regressor errs, and how heads move."""
