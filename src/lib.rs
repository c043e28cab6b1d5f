//! `article-store`
pub mod api;
pub mod clock;
pub mod domain;
pub mod exchange;
pub mod pb;
pub mod server;
pub mod service;
pub mod store;
