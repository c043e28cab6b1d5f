//! `article-store`
pub mod api;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod exchange;
pub mod pb;
pub mod server;
pub mod service;
pub mod store;
