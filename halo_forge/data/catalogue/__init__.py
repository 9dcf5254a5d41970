"""The data sets that come registered: one module a family, one object a data set."""
