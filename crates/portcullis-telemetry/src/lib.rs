//! Metric families and the functions that record them.
