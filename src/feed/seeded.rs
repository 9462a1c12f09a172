//! A feed made from a seed.
