// The page needs no script beyond its theme.
document.documentElement.dataset.ready = "true";
