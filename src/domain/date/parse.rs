//! Reads dates out of texts.
