"""The paper in small: a synthetic study of known truth, simulated raters, networks that learn from them."""
