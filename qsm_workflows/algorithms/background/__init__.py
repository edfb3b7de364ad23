"""Background field removal: from total to local field, a module a family of methods."""
