"""One file per statistic; each says where it comes from."""
