//! `article-store`
pub mod domain;
pub mod store;
